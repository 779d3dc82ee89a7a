// SPDX-License-Identifier: Apache-2.0
// Kafka's own libraries, from Maven Central, and small Java programs run with them.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** The release that the tables in src/protocol/apis and src/broker/config describe. */
export const KAFKA_CLIENTS_VERSION = '4.4.0'

function run(command: string, args: string[], input = ''): string {
  const { error, status, stdout, stderr } = spawnSync(command, args, { input, encoding: 'utf8', maxBuffer: 2 ** 28 })
  if (error !== undefined) throw new Error(`${command} is needed to compare with Kafka: ${error.message}`)
  if (status !== 0) throw new Error(`${command} ended with ${status}:\n${stderr}${stdout}`)
  return stdout
}

/** One artifact of Kafka's with all that it needs. */
export class KafkaJars {
  readonly #artifact: string
  readonly #directory: string

  constructor(artifact: string) {
    this.#artifact = artifact
    this.#directory = join(
      process.env.PEERS_CACHE ?? join(homedir(), '.cache/varve-peers'),
      `${artifact}-${KAFKA_CLIENTS_VERSION}`,
    )
  }

  /** Fetches the jars on the first run. */
  install(): void {
    const done = join(this.#directory, '.done')
    if (existsSync(done)) return
    mkdirSync(this.#directory, { recursive: true })
    const pom = join(this.#directory, 'pom.xml')
    writeFileSync(
      pom,
      `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
       <groupId>peers</groupId><artifactId>${this.#artifact}</artifactId><version>1</version><dependencies><dependency>
       <groupId>org.apache.kafka</groupId><artifactId>${this.#artifact}</artifactId>
       <version>${KAFKA_CLIENTS_VERSION}</version></dependency></dependencies></project>`,
    )
    run('mvn', ['-q', '-B', '-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${this.#directory}`])
    writeFileSync(done, '')
  }

  /** Runs a single-file Java program and returns its output, line by line. */
  java(program: URL, args: readonly string[], input = ''): string[] {
    return run('java', ['-cp', join(this.#directory, '*'), program.pathname, ...args], input)
      .trimEnd()
      .split('\n')
  }
}

const clients = new KafkaJars('kafka-clients')

/** Installs the jars on the first run. */
export function installKafkaClients(): void {
  clients.install()
}

/** Runs a single-file Java program of test/protocol/schemas and returns its output, line by line. */
export function runJava(program: string, args: readonly string[], input = ''): string[] {
  return clients.java(new URL(`../protocol/schemas/${program}.java`, import.meta.url), args, input)
}

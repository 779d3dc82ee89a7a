// SPDX-License-Identifier: Apache-2.0
// Kafka's own client library, from Maven Central, and small Java programs run with it.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** The release that the tables in src/protocol/apis describe. */
export const KAFKA_CLIENTS_VERSION = '4.4.0'

const directory = join(
  process.env.PEERS_CACHE ?? join(homedir(), '.cache/varve-peers'),
  `kafka-clients-${KAFKA_CLIENTS_VERSION}`,
)

function run(command: string, args: string[], input = ''): string {
  const { error, status, stdout, stderr } = spawnSync(command, args, { input, encoding: 'utf8', maxBuffer: 2 ** 28 })
  if (error !== undefined) throw new Error(`${command} is needed to compare with Kafka: ${error.message}`)
  if (status !== 0) throw new Error(`${command} ended with ${status}:\n${stderr}${stdout}`)
  return stdout
}

/** Installs the jars on the first run. */
export function installKafkaClients(): void {
  const done = join(directory, '.done')
  if (existsSync(done)) return
  mkdirSync(directory, { recursive: true })
  const pom = join(directory, 'pom.xml')
  writeFileSync(
    pom,
    `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
     <groupId>peers</groupId><artifactId>kafka-clients</artifactId><version>1</version><dependencies><dependency>
     <groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>${KAFKA_CLIENTS_VERSION}</version>
     </dependency></dependencies></project>`,
  )
  run('mvn', ['-q', '-B', '-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${directory}`])
  writeFileSync(done, '')
}

/** Runs a single-file Java program of test/protocol/schemas and returns its output, line by line. */
export function runJava(program: string, args: readonly string[], input = ''): string[] {
  const source = new URL(`../protocol/schemas/${program}.java`, import.meta.url).pathname
  return run('java', ['-cp', join(directory, '*'), source, ...args], input)
    .trimEnd()
    .split('\n')
}

// SPDX-License-Identifier: Apache-2.0
// meta.properties: which cluster and broker a log directory belongs to. Kafka's file, so that its directories can be opened here and ours
// there: lines this broker doesn't know are kept.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseProperties } from '../util/properties.ts'
import { systemRng } from '../util/system-seams.ts'
import { randomUuid } from '../util/uuid.ts'

export interface MetaProperties {
  readonly clusterId: string
  readonly nodeId: number
}

const FILE = 'meta.properties'

function readFile(directory: string): Map<string, string> | null {
  let text: string
  try {
    text = readFileSync(join(directory, FILE), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  return new Map(Object.entries(parseProperties(text)))
}

/** null: none of the directories has one. Throws when they belong to different clusters. */
export function readMetaProperties(directories: readonly string[]): MetaProperties | null {
  let first: MetaProperties | null = null
  for (const directory of directories) {
    const properties = readFile(directory)
    const clusterId = properties?.get('cluster.id')
    if (properties === null || clusterId === undefined) continue
    const nodeId = Number(properties.get('node.id') ?? properties.get('broker.id') ?? -1)
    if (first !== null && first.clusterId !== clusterId)
      throw new Error(
        `log directories belong to different clusters: ${first.clusterId} and, in ${directory}, ${clusterId}`,
      )
    first ??= { clusterId, nodeId }
  }
  return first
}

export function writeMetaProperties(directories: readonly string[], { clusterId, nodeId }: MetaProperties): void {
  for (const directory of directories) {
    const properties = readFile(directory) ?? new Map<string, string>()
    if (properties.get('cluster.id') === clusterId && properties.get('node.id') === String(nodeId)) continue
    properties.set('version', '1')
    properties.set('cluster.id', clusterId)
    properties.set('node.id', String(nodeId))
    if (!properties.has('directory.id')) properties.set('directory.id', randomUuid(systemRng))
    mkdirSync(directory, { recursive: true })
    const path = join(directory, FILE)
    const lines = ['#', ...[...properties].map(([key, value]) => `${key}=${value}`), '']
    writeFileSync(`${path}.tmp`, lines.join('\n'), { flush: true })
    renameSync(`${path}.tmp`, path)
  }
}

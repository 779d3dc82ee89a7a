// SPDX-License-Identifier: Apache-2.0
// Goal: docs/compatibility.md says what is served. Method: its table against the one list of handlers and what ApiVersions answers.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { handlers } from '../../src/broker/handlers/index.ts'
import { ApiVersions } from '../../src/protocol/apis/index.ts'
import { startBroker } from '../../src/testing/index.ts'
import { WireClient } from '../util/wire-client.ts'

const list = (cell: string): string[] => cell.split(',').map((part) => part.trim())

/** A row may hold several APIs: keys, names and versions are lists then. */
function documented(): string[] {
  const text = readFileSync(new URL('../../docs/compatibility.md', import.meta.url), 'utf8')
  return text
    .split('\n')
    .filter((line) => /^\| \d/.test(line))
    .flatMap((line) => {
      const [keys, names, versions] = line.split('|').slice(1, 4).map(list)
      return keys!.map((key, i) => `${key} ${names![i]} ${versions![i]}`)
    })
}

const range = ([min, max]: readonly [number, number]): string => `${min}-${max}`

it('lists every API and its versions, and no other', () => {
  expect(documented()).toEqual(handlers.map(({ api }) => `${api.key} ${api.name} ${range(api.served)}`).sort(byKey))
})

it('is what ApiVersions answers', async () => {
  await using broker = await startBroker()
  const client = await WireClient.connect(broker.bootstrap)
  const { apiKeys } = await client.request(ApiVersions, 0, {})
  await client.close()
  // Produce is advertised from 0 for clients that would not compress otherwise.
  const answered = apiKeys.map(({ apiKey, minVersion, maxVersion }) => {
    const { api } = handlers.find((handler) => handler.api.key === apiKey)!
    return `${apiKey} ${api.name} ${range([api.name === 'Produce' ? 3 : minVersion, maxVersion])}`
  })
  expect(answered.sort(byKey)).toEqual(documented())
})

function byKey(a: string, b: string): number {
  return Number.parseInt(a, 10) - Number.parseInt(b, 10)
}

// SPDX-License-Identifier: Apache-2.0
// Every client reads what every other client wrote with every codec.
import { compare } from '../lib/records.mjs'

const timeoutMs = 90_000

export async function cross({ report, clients, bootstrap }, written) {
  report.section('cross')
  for (const reader of clients) {
    const wanted = written.filter(
      ({ client, codec }) => client !== reader && !reader.cannotRead.includes(`${client.id} ${codec}`),
    )
    if (wanted.length === 0) continue
    const topics = wanted.map((each) => each.topic)
    const total = wanted.reduce((sum, each) => sum + each.records.length, 0)
    const byTopic = new Map(topics.map((topic) => [topic, []]))
    const read = await report.case(`${reader.id} reads ${total} records of ${topics.length} topics`, async () => {
      const lines = await reader.consume(bootstrap, topics, `cross-${reader.id}`, total, { timeoutMs })
      for (const line of lines) byTopic.get(line.topic).push(line)
    })
    if (!read) continue
    for (const client of new Set(wanted.map((each) => each.client))) {
      const ofClient = wanted.filter((each) => each.client === client)
      const codecs = ofClient.map((each) => each.topic.slice(client.id.length + 1)).join(' ')
      await report.case(`${reader.id} reads what ${client.id} wrote (${codecs})`, () => {
        for (const { topic, records, sentBetween } of ofClient) {
          try {
            compare(records, byTopic.get(topic), { readerLimits: reader.cannotConsume, sentBetween })
          } catch (error) {
            throw new Error(`${topic}: ${error.message}`)
          }
        }
      })
    }
  }
}

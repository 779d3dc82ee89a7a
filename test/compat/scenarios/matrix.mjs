// SPDX-License-Identifier: Apache-2.0
// Every client with every codec: it makes its topics, produces, consumes half in a group, commits and leaves; a second
// run of the same group goes on where the first had committed. Everything must come back exactly. The topics stay for
// the readers of cross.mjs.
import { inParallel } from '../lib/parallel.mjs'
import { compare, makeRecords } from '../lib/records.mjs'
import { codecsOf } from '../lib/segments.mjs'

const count = 400
const partitions = 2
const clientsAtOnce = 3
const hourMs = 3_600_000

/** @returns {Array<{ client, codec, topic, records, sentBetween }>} what was written, for other readers */
export async function matrix({ report, broker, clients, maker, bootstrap, dir }) {
  report.section('matrix')
  const written = []
  await inParallel(clients, clientsAtOnce, async (client) => {
    const runs = client.codecs.map((codec) => ({ codec, topic: `${client.id}-${codec}`, idempotent: false }))
    if (client.idempotent) runs.push({ codec: 'lz4', topic: `${client.id}-idempotent`, idempotent: true })
    const topics = runs.map((each) => each.topic)
    const creator = client.creates ? client : maker
    const who = client.creates ? client.id : `${creator.id} on behalf of ${client.id}, which has no admin verbs,`
    await report.case(`${who} creates ${topics.length} topics`, () => creator.create(bootstrap, partitions, topics))

    for (const [index, { codec, topic, idempotent }] of runs.entries()) {
      const records = makeRecords({
        seed: index + 1,
        count,
        partitions,
        firstTimestamp: Date.now() - hourMs,
        without: client.cannotProduce,
      })
      const flavour = idempotent ? `${codec}, idempotent` : codec
      await report.case(`${client.id} ${flavour}: produce, consume half, commit, resume`, async () => {
        const start = Date.now()
        await client.produce(bootstrap, topic, records, { codec, dir, idempotent })
        const sentBetween = client.cannotProduce.includes('timestamps') ? [start, Date.now()] : undefined
        const group = `group-${topic}`
        const half = Math.floor(count / 2)
        const first = await client.consume(bootstrap, [topic], group, half)
        const rest = await client.consume(bootstrap, [topic], group, count - half)
        if (first.length !== half) throw new Error(`the first run printed ${first.length} records instead of ${half}`)
        compare(records, [...first, ...rest], { readerLimits: client.cannotConsume, sentBetween })
        if (broker.logDir !== undefined) checkCodec(codecsOf(broker.logDir, topic), codec)
        written.push({ client, codec, topic, records, sentBetween })
      })
    }
  })
  return written
}

/** Clients leave a batch as it is when it would not shrink; but never all of them, and never with another codec. */
function checkCodec(stored, codec) {
  const strange = [...stored].filter((name) => name !== codec && name !== 'none')
  if (!stored.has(codec) || strange.length > 0)
    throw new Error(`batches sent with ${codec} are stored with ${[...stored].join(', ')}`)
}

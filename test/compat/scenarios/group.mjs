// SPDX-License-Identifier: Apache-2.0
// One group of three different clients: the rebalances give each its partition, and together they read everything.
import { tool } from '../lib/brokers.mjs'
import { sleep } from '../lib/process.mjs'
import { compare, makeRecords } from '../lib/records.mjs'

const groups = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand'
const members = ['java', 'confluent-kafka', 'sarama']
const perPartition = 50
const settleWithinMs = 40_000
const readMs = 3_000

/** Rows of `--describe --members`: how many partitions each member has. */
async function partitionsPerMember(bootstrap, group) {
  const args = ['--bootstrap-server', bootstrap, '--describe', '--group', group, '--members']
  const { stdout } = await tool(groups, args)
  const rows = stdout.split('\n').filter((line) => line.startsWith(group))
  return rows.map((row) => Number(row.trim().split(/\s+/)[4]))
}

export async function group({ report, clients, bootstrap, dir }) {
  report.section('group')
  const present = clients.filter((client) => members.includes(client.id))
  if (present.length !== members.length) return
  const topic = 'shared-group'
  const name = 'three-clients'
  await report.case(`${members.join(', ')} share one group of ${present.length} partitions`, async () => {
    await present[0].create(bootstrap, present.length, [topic])
    const reading = present.map((client) => client.consumeMeanwhile(bootstrap, [topic], name, perPartition))
    const begun = Date.now()
    for (;;) {
      const counts = await partitionsPerMember(bootstrap, name)
      if (counts.length === present.length && counts.every((count) => count === 1)) break
      if (Date.now() - begun > settleWithinMs) throw new Error(`the members have ${counts.join(', ')} partitions`)
      await sleep(200)
    }
    const records = makeRecords({
      seed: 77,
      count: perPartition * present.length,
      partitions: 1,
      firstTimestamp: Date.now() - 3_600_000,
    }).map((record, index) => ({ ...record, partition: index % present.length }))
    // Who has read its share leaves, and the others read again from what is committed. So the last record of each comes when all have
    // read the rest.
    await present[1].produce(bootstrap, topic, records.slice(0, -members.length), { codec: 'zstd', dir })
    await sleep(readMs)
    await present[1].produce(bootstrap, topic, records.slice(-members.length), { codec: 'zstd', dir })
    const got = await Promise.all(reading)
    for (const [index, lines] of got.entries()) {
      const partitions = new Set(lines.map((line) => line.partition))
      if (partitions.size !== 1) throw new Error(`${present[index].id} read partitions ${[...partitions].join(', ')}`)
    }
    compare(records, got.flat())
    if ((await partitionsPerMember(bootstrap, name)).length > 0) throw new Error('members are left in the group')
  })
}

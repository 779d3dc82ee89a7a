// SPDX-License-Identifier: Apache-2.0
// Goal: a full disk is an error code and nothing else. Method: a broker on a file system of 24 MiB that is filled and freed 20 times,
// under producers, with segments so small that the space ends in the middle of one, at a roll and when a topic is made. Each
// time: KAFKA_STORAGE_ERROR to the producer, at once; old and new records go on being read; the process lives; with space there again
// writes succeed within 5 s and without a restart. In the end a restart finds every acknowledged record.
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { BrokerProcess } from '../util/broker-process.ts'
import { WireClient } from '../util/wire-client.ts'
import { createTopic, fetch, fetchAll, type Produced, produce, producedReply, sendProduce } from './clients.ts'
import { SmallFileSystem } from './small-file-system.ts'

const ROUNDS = 20
const MEBIBYTES = 24
const STORAGE_ERROR = 56
/** Unknown topic or partition, leader not available, storage error: a client asks again. */
const RETRIABLE = [3, 5, STORAGE_ERROR]
const RESUME_MS_MAX = 5000
const ANSWER_MS_MAX = 5000
const TOPIC = 'filled'

const cleanups: Array<() => Promise<void> | void> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function serve(disk: SmallFileSystem): Promise<BrokerProcess> {
  const sizes = ['--set', 'log.segment.bytes=1048576', '--set', 'log.segment.delete.delay.ms=0']
  const broker = await BrokerProcess.start([
    '--data',
    join(disk.dir, 'data'),
    '--listen',
    '127.0.0.1:0',
    '--log-level',
    'warn',
    ...sizes,
  ])
  cleanups.push(() => broker.kill())
  return broker
}

async function client(broker: BrokerProcess): Promise<WireClient> {
  const connected = await WireClient.connect(broker.bootstrap)
  cleanups.push(() => connected.close())
  return connected
}

/** Fails with what was waited for instead of with the test's own timeout. */
async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`${what}: no answer after ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

it.each(['ext4', 'tmpfs'] as const)(
  `answers with an error while %s is full and resumes when it is not, ${ROUNDS} times`,
  async (kind) => {
    const disk = new SmallFileSystem(kind, MEBIBYTES)
    cleanups.push(() => disk.dispose())
    let broker = await serve(disk)
    const admin = await client(broker)
    const producer = await client(broker)
    const reader = await client(broker)
    const tail = await client(broker)
    expect(await createTopic(admin, TOPIC)).toBe(0)

    const acked = new Map<number, string>()
    let sequence = 0
    const next = (bytes: number): string => `${sequence++}:`.padEnd(bytes, 'x')
    const enter = ({ errorCode, baseOffset }: Produced, value: string): number => {
      if (errorCode === 0) {
        expect(acked.has(baseOffset)).toBe(false)
        acked.set(baseOffset, value)
      }
      return errorCode
    }
    /** Four in flight until one fails; the codes of those that did. */
    const fillUp = async (bytes: number, acks: -1 | 1): Promise<number[]> => {
      const failures: number[] = []
      const inFlight: string[] = []
      const send = (): void => {
        const value = next(bytes)
        inFlight.push(value)
        sendProduce(producer, TOPIC, 0, value, acks)
      }
      for (let i = 0; i < 4; i++) send()
      while (inFlight.length > 0) {
        const reply = await within(ANSWER_MS_MAX, 'produce on a filling disk', producedReply(producer))
        const code = enter(reply, inFlight.shift()!)
        if (code !== 0) failures.push(code)
        else if (failures.length === 0) send()
      }
      return failures
    }

    const resumedMs: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      expect(enter(await produce(producer, TOPIC, 0, next(100)), `${sequence - 1}:`.padEnd(100, 'x'))).toBe(0)
      // To the last block every other round, else with room for one or several segments.
      disk.fill(round % 2 === 0 ? 0 : 65_536 * (1 + (round % 9)))
      const failures = await fillUp(round % 3 === 0 ? 900 : 14_000, round % 4 === 3 ? 1 : -1)
      expect(new Set(failures)).toEqual(new Set([STORAGE_ERROR]))
      // To the last block now, for what comes.
      disk.fill(0)

      const oldest = await within(ANSWER_MS_MAX, 'fetch of old records', fetch(reader, TOPIC, 0, 0))
      expect(oldest.errorCode).toBe(0)
      expect(oldest.values.get(0)?.toString()).toBe(acked.get(0))
      const end = Math.max(...acked.keys())
      const newest = await within(
        ANSWER_MS_MAX,
        'fetch of new records',
        fetch(reader, TOPIC, 0, end, { maxWaitMs: ANSWER_MS_MAX }),
      )
      expect(newest.values.get(end)?.toString()).toBe(acked.get(end))
      const parked = fetch(tail, TOPIC, 0, end + 1, { maxWaitMs: 20_000 })

      // Not even the metadata can be written: an error, and nothing half made.
      const code = await within(ANSWER_MS_MAX, 'CreateTopics on a full disk', createTopic(admin, `late-${round}`))
      if (code !== 0) expect(code).toBe(STORAGE_ERROR)
      expect(() => process.kill(broker.pid, 0), broker.log.join('\n')).not.toThrow()

      disk.free()
      const freedMs = performance.now()
      for (;;) {
        const value = next(500)
        const reply = await within(ANSWER_MS_MAX, 'produce after space was freed', produce(producer, TOPIC, 0, value))
        if (enter(reply, value) === 0) break
        expect(reply.errorCode).toBe(STORAGE_ERROR)
        expect(performance.now() - freedMs).toBeLessThan(RESUME_MS_MAX)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      resumedMs.push(performance.now() - freedMs)
      const arrived = await within(ANSWER_MS_MAX, 'a parked fetch', parked)
      expect(arrived.errorCode).toBe(0)
      expect(arrived.values.size).toBeGreaterThan(0)
      for (const [offset, value] of arrived.values)
        if (acked.has(offset)) expect(value.toString()).toBe(acked.get(offset))
      if (code !== 0) expect(await createTopic(admin, `late-${round}`)).toBe(0)
      // A topic that was entered while its directory could not be made is opened when there is space.
      for (;;) {
        const { errorCode } = await produce(producer, `late-${round}`, 0, 'made')
        if (errorCode === 0) break
        expect(RETRIABLE).toContain(errorCode)
        expect(performance.now() - freedMs).toBeLessThan(RESUME_MS_MAX)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    expect(Math.max(...resumedMs)).toBeLessThan(RESUME_MS_MAX)

    const check = async (): Promise<void> => {
      const found = await fetchAll(await client(broker), TOPIC, 0)
      for (const [offset, value] of acked) expect(found.get(offset)?.toString(), `offset ${offset}`).toBe(value)
      const values = [...found.values()].map(String)
      expect(new Set(values).size).toBe(values.length)
    }
    await check()
    // Full at the end too: a kill, and a start on a full disk.
    disk.fill(0)
    await broker.kill()
    disk.free()
    broker = await serve(disk)
    await check()
    expect(await broker.stop()).toBe(0)
    console.info(
      `${kind}: ${ROUNDS} rounds, ${acked.size} records, resumed after at most ${Math.max(...resumedMs).toFixed(0)} ms`,
    )
  },
)

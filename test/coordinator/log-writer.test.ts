// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import { LogWriter } from '../../src/coordinator/log-writer.ts'
import { batches, records } from '../../src/protocol/record-batch.ts'
import { MemoryPartition } from '../util/memory-partition.ts'
import { settled } from '../util/virtual-seams.ts'

function setUp(batchBytes = 10_000) {
  const partition = new MemoryPartition('__consumer_offsets', 0)
  partition.lead()
  const writer = new LogWriter(partition, { batchBytes, wallMs: () => 1_700_000_000_000 })
  const told: string[] = []
  const write = (name: string, count = 1, size = 10) =>
    writer.write(
      Array.from({ length: count }, (_, i) => ({ key: Buffer.from(`${name}${i}`), value: new Uint8Array(size) })),
      {
        onWritten: (index, offset) => told.push(`${name}${index}@${offset}`),
        onDone: (error) => told.push(`${name} ${error?.code ?? 'done'}`),
      },
    )
  return { partition, writer, told, write }
}

function keysByBatch(partition: MemoryPartition): string[][] {
  return [...batches(partition.bytes())].map((batch) =>
    [...records(batch)].map(({ key }) => Buffer.from(key!).toString()),
  )
}

describe('a log writer', () => {
  it('appends what is asked for in one tick as one batch, and tells each where it is', async () => {
    const { partition, told, write } = setUp()
    write('a', 2)
    write('b')
    await settled()
    expect(partition.appendCount).toBe(1)
    expect(told).toEqual(['a0@0', 'a1@1', 'a done', 'b0@2', 'b done'])
  })

  it('takes a thousand commits of one tick in a handful of appends', async () => {
    const { partition, write } = setUp(64 * 1024)
    for (let i = 0; i < 1000; i++) write(`commit-${i}-`, 1, 24)
    await settled()
    expect(partition.logEndOffset).toBe(1000)
    expect(partition.appendCount).toBeLessThan(5)
  })

  it('gathers what comes while two appends are under way', async () => {
    const { partition, told, write } = setUp()
    partition.hold()
    for (const name of ['a', 'b', 'c', 'd']) {
      write(name)
      await settled()
    }
    expect(partition.appendCount).toBe(2)
    partition.release()
    await settled()
    expect(partition.appendCount).toBe(3)
    expect(told.filter((line) => line.endsWith('done'))).toEqual(['a done', 'b done', 'c done', 'd done'])
    expect(keysByBatch(partition)).toEqual([['a0'], ['b0'], ['c0', 'd0']])
  })

  it('keeps a write in one batch where it fits, and spreads what is larger than a batch', async () => {
    const { partition, told, write } = setUp(200)
    write('a', 3)
    write('b', 3)
    write('c', 9)
    await settled()
    const sizes = keysByBatch(partition).map((keys) => keys.join(' '))
    expect(sizes[0]).toBe('a0 a1 a2')
    expect(sizes[1]).toBe('b0 b1 b2')
    expect(sizes.slice(2).join(' ')).toBe('c0 c1 c2 c3 c4 c5 c6 c7 c8')
    expect(sizes.length).toBeGreaterThan(3)
    expect(told.filter((line) => line === 'c done')).toHaveLength(1)
  })

  it('appends a record that is larger than a batch by itself: the log decides whether it is too large', async () => {
    const { partition, write } = setUp(100)
    write('a')
    write('large', 1, 5000)
    write('b')
    await settled()
    expect(keysByBatch(partition)).toEqual([['a0'], ['large0'], ['b0']])
  })

  it('tells everybody in a batch of its failure, and goes on with the next', async () => {
    const { partition, told, write } = setUp()
    partition.failNext('NOT_ENOUGH_REPLICAS')
    write('a', 2)
    write('b')
    await settled()
    write('c')
    await settled()
    expect(told).toEqual(['a NOT_ENOUGH_REPLICAS', 'b NOT_ENOUGH_REPLICAS', 'c0@0', 'c done'])
  })

  it('says which records of a write that was spread are in the log, and the first error', async () => {
    const { partition, told, write } = setUp(100)
    partition.failNext('NOT_ENOUGH_REPLICAS')
    write('a', 5)
    await settled()
    expect(told.at(-1)).toBe('a NOT_ENOUGH_REPLICAS')
    expect(told.slice(0, -1)).toEqual(
      keysByBatch(partition)
        .flat()
        .map((key, offset) => `${key}@${offset}`),
    )
    expect(told.length).toBeGreaterThan(1)
  })

  it('tells outcomes in the order of the log when a later append ends first', async () => {
    const { writer, partition, told, write } = setUp()
    const open: (() => void)[] = []
    let offset = 0
    partition.append = () => {
      const baseOffset = offset++
      return new Promise((resolve) =>
        open.push(() => resolve({ baseOffset, lastOffset: baseOffset, logAppendTimeMs: -1 })),
      )
    }
    write('a')
    await settled()
    write('b')
    await settled()
    open[1]!()
    await settled()
    expect(told).toEqual([])
    open[0]!()
    await settled()
    expect(told).toEqual(['a0@0', 'a done', 'b0@1', 'b done'])
    expect(writer.isIdle).toBe(true)
  })

  it('turns what is no KafkaError into one', async () => {
    const { partition, told, write } = setUp()
    partition.append = () => {
      throw new TypeError('planted')
    }
    write('a')
    await settled()
    expect(told).toEqual(['a UNKNOWN_SERVER_ERROR'])
  })

  it('says when nothing is under way any more', async () => {
    const { partition, writer, write } = setUp()
    let idle = 0
    writer.whenIdle(() => idle++)
    expect(idle).toBe(1)
    partition.hold()
    write('a')
    writer.whenIdle(() => idle++)
    await settled()
    expect(idle).toBe(1)
    partition.release()
    await settled()
    expect(idle).toBe(2)
  })
})

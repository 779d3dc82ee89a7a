// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import { LocalMetadataStore, type MetadataLog } from '../../src/cluster/local-metadata-store.ts'
import type { Change } from '../../src/cluster/metadata-store.ts'
import { MemoryPartition } from '../util/memory-partition.ts'
import { VirtualClock } from '../util/virtual-seams.ts'

class MemoryLog extends MemoryPartition implements MetadataLog {
  deleteBefore(offset: number): void {
    this.trimTo(offset)
  }
}

function newLog(): MemoryLog {
  const log = new MemoryLog('metadata', 0)
  log.lead()
  return log
}

const opened = (log: MemoryLog) => LocalMetadataStore.open(log, new VirtualClock())
const everything = (store: LocalMetadataStore) => store.list('').map(({ key, value }) => [key, value])
const LARGE = 'x'.repeat(1 << 20)

/** Puts one key until the log holds far more than what is alive. */
async function fill(store: LocalMetadataStore, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await store.txn([], [{ put: 'large', value: LARGE + i }])
}

describe('a transaction', () => {
  it('is done when its comparisons hold, and its alternative when they do not', async () => {
    const store = opened(newLog())
    expect(await store.txn([{ key: 'a', revision: 0 }], [{ put: 'a', value: '1' }])).toEqual({
      succeeded: true,
      revision: 1,
    })
    const other = [{ put: 'lost', value: 'yes' }]
    expect(await store.txn([{ key: 'a', revision: 0 }], [{ put: 'a', value: '2' }], other)).toEqual({
      succeeded: false,
      revision: 2,
    })
    expect(everything(store)).toEqual([
      ['a', '1'],
      ['lost', 'yes'],
    ])
  })

  it('changes nothing and tells nobody when it cannot be written', async () => {
    const log = newLog()
    const store = opened(log)
    const seen: Change[] = []
    store.watch(0, (change) => seen.push(change))
    log.failNext('KAFKA_STORAGE_ERROR')
    await expect(store.txn([], [{ put: 'a', value: '1' }])).rejects.toMatchObject({ code: 'KAFKA_STORAGE_ERROR' })
    expect(store.get('a')).toBeUndefined()
    expect(await store.txn([], [{ put: 'b', value: '2' }])).toEqual({ succeeded: true, revision: 1 })
    expect(seen).toEqual([{ key: 'b', value: '2', revision: 1 }])
  })
})

describe('the log', () => {
  it('brings everything back, in the revisions in which it was put', async () => {
    const log = newLog()
    const store = opened(log)
    await store.txn(
      [],
      [
        { put: 'a', value: '1' },
        { put: 'b', value: '2' },
      ],
    )
    await store.txn([], [{ delete: 'a' }, { put: 'c', value: '3' }])
    const again = opened(log)
    expect(again.revision).toBe(2)
    expect(again.list('')).toEqual(store.list(''))
  })

  it('is replaced by a snapshot when most of it is dead', async () => {
    const log = newLog()
    const store = opened(log)
    await store.txn([], [{ put: 'kept', value: '1' }])
    await fill(store, 6)
    expect(log.logStartOffset).toBeGreaterThan(0)
    expect(log.bytes().length).toBeLessThan(4 * LARGE.length)
    expect(everything(opened(log))).toEqual(everything(store))
  })

  it('takes a transaction whose snapshot fails, and makes the snapshot with the next one', async () => {
    const log = newLog()
    const store = opened(log)
    await fill(store, 3)
    expect(log.logStartOffset).toBe(0)
    const append = log.append.bind(log)
    let appends = 0
    log.append = async (bytes, acks) => {
      if (++appends === 2) log.failNext('KAFKA_STORAGE_ERROR')
      return append(bytes, acks)
    }
    expect(await store.txn([], [{ put: 'large', value: LARGE }])).toMatchObject({ succeeded: true })
    expect([appends, log.logStartOffset]).toEqual([2, 0])
    expect(everything(opened(log))).toEqual([['large', LARGE]])
    await store.txn([], [{ put: 'large', value: 'small' }])
    expect(log.logStartOffset).toBeGreaterThan(0)
    expect(everything(opened(log))).toEqual([['large', 'small']])
  })
})

// SPDX-License-Identifier: Apache-2.0
// The records of __consumer_offsets, byte for byte. The golden bytes were written by the generated classes of Kafka 4.3.1
// (MessageUtil.toVersionPrefixedByteBuffer), the hashes by Java's String.hashCode.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  groupRecord,
  OffsetCommitReader,
  offsetRecord,
  partitionOf,
  readGroupValue,
  readKey,
  readOffsetValue,
} from '../../src/coordinator/group-log.ts'
import { ProtocolError } from '../../src/protocol/protocol-error.ts'

const hex = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString('hex'))
const bytes = (text: string) => Buffer.from(text, 'hex')

const OFFSET_KEY = '000100076772c3bcc39f6500066f726465727300000007'
const OFFSET_VALUES = {
  0: '0000001fffffffffffff00046de282ac0000018bcfe5687b',
  1: '0001001fffffffffffff00046de282ac0000018bcfe5687b0000018bcfee903b',
  2: '0002001fffffffffffff00046de282ac0000018bcfe5687b',
  3: '0003001fffffffffffff0000000300046de282ac0000018bcfe5687b',
  4: '0004001fffffffffffff00000003056de282ac0000018bcfe5687b00',
} as const
const OFFSET_VALUE_WITH_TOPIC_ID =
  '0004001fffffffffffff00000003056de282ac0000018bcfe5687b0100100102030405060708090a0b0c0d0e0f10'
const GROUP_KEY = '000200076772c3bcc39f65'
const GROUP_VALUES = {
  0:
    '00000008636f6e73756d65720000002a000572616e67650003632d31000000020003632d31000163000a2f3132372e302e302e310000afc8' +
    '000000030102030000000204050003632d32000163000a2f3132372e302e302e3100002710000000000000000106',
  1:
    '00010008636f6e73756d65720000002a000572616e67650003632d31000000020003632d31000163000a2f3132372e302e302e31000493e0' +
    '0000afc8000000030102030000000204050003632d32000163000a2f3132372e302e302e310000ea6000002710000000000000000106',
  2:
    '00020008636f6e73756d65720000002a000572616e67650003632d310000018bcfe569c8000000020003632d31000163000a2f3132372e30' +
    '2e302e31000493e00000afc8000000030102030000000204050003632d32000163000a2f3132372e302e302e310000ea6000002710000000' +
    '000000000106',
  3:
    '00030008636f6e73756d65720000002a000572616e67650003632d310000018bcfe569c8000000020003632d310003692d31000163000a2f' +
    '3132372e302e302e31000493e00000afc8000000030102030000000204050003632d32ffff000163000a2f3132372e302e302e310000ea60' +
    '00002710000000000000000106',
  4:
    '000409636f6e73756d65720000002a0672616e676504632d310000018bcfe569c80304632d3104692d3102630b2f3132372e302e302e3100' +
    '0493e00000afc8040102030304050004632d320002630b2f3132372e302e302e310000ea60000027100102060000',
} as const
const EMPTY_GROUP_VALUE = '0003000000000000ffffffffffffffffffffffff00000000'

const committed = {
  offset: 9007199254740991,
  leaderEpoch: 3,
  metadata: 'm€',
  commitTimestampMs: 1700000000123,
  expireTimestampMs: -1,
}

const group = {
  protocolType: 'consumer',
  generationId: 42,
  protocolName: 'range',
  leader: 'c-1',
  stateTimestampMs: 1700000000456,
  members: [
    {
      memberId: 'c-1',
      groupInstanceId: 'i-1',
      clientId: 'c',
      clientHost: '/127.0.0.1',
      rebalanceTimeoutMs: 300000,
      sessionTimeoutMs: 45000,
      subscription: bytes('010203'),
      assignment: bytes('0405'),
    },
    {
      memberId: 'c-2',
      groupInstanceId: null,
      clientId: 'c',
      clientHost: '/127.0.0.1',
      rebalanceTimeoutMs: 60000,
      sessionTimeoutMs: 10000,
      subscription: bytes(''),
      assignment: bytes('06'),
    },
  ],
}

describe('offset records', () => {
  it('are written as Kafka writes them: key 1, value 3', () => {
    const { key, value } = offsetRecord('grüße', 'orders', 7, committed)
    expect(hex(key)).toBe(OFFSET_KEY)
    expect(hex(value)).toBe(OFFSET_VALUES[3])
  })

  it('that expire at a time of their own are written as value 1, the only one that can say so', () => {
    const { value } = offsetRecord('grüße', 'orders', 7, { ...committed, expireTimestampMs: 1700000600123 })
    expect(hex(value)).toBe(OFFSET_VALUES[1])
  })

  it('without a value are tombstones', () => {
    const { key, value } = offsetRecord('grüße', 'orders', 7, null)
    expect(hex(key)).toBe(OFFSET_KEY)
    expect(value).toBeNull()
  })

  it('have keys in version 0 and 1', () => {
    const expected = { kind: 'offset', groupId: 'grüße', topic: 'orders', partition: 7 }
    expect(readKey(bytes(OFFSET_KEY))).toEqual(expected)
    expect(readKey(bytes(OFFSET_KEY.replace('0001', '0000')))).toEqual(expected)
  })

  it.each([
    [0, { leaderEpoch: -1 }],
    [1, { leaderEpoch: -1, expireTimestampMs: 1700000600123 }],
    [2, { leaderEpoch: -1 }],
    [3, {}],
    [4, {}],
  ] as const)('are read in version %i', (version, over) => {
    expect(readOffsetValue(bytes(OFFSET_VALUES[version]))).toEqual({ ...committed, ...over })
  })

  it('may carry a topic id, as Kafka 4.1 can write it', () => {
    expect(readOffsetValue(bytes(OFFSET_VALUE_WITH_TOPIC_ID))).toEqual(committed)
  })
})

describe('the reader of offset commits', () => {
  const reader = new OffsetCommitReader()
  const read = (key: Uint8Array, value: Uint8Array) => {
    const all = Buffer.concat([Buffer.of(1, 2, 3), key, value, Buffer.of(4)])
    return reader.read(all, 3, 3 + key.length, 3 + key.length, 3 + key.length + value.length)
  }

  it('reads what the general readers read, and leaves the rest to them', () => {
    const value = fc.record({
      offset: fc.integer({ min: -2, max: Number.MAX_SAFE_INTEGER }),
      leaderEpoch: fc.integer({ min: -1, max: 2 ** 31 - 1 }),
      metadata: fc.string({ unit: 'grapheme', maxLength: 40 }),
      commitTimestampMs: fc.nat(2 ** 42),
      expireTimestampMs: fc.constantFrom(-1, -1, 1_700_000_000_000),
    })
    const name = fc.string({ unit: 'grapheme', maxLength: 20 })
    fc.assert(
      fc.property(name, name, fc.nat(), value, (groupId, topic, partition, committedValue) => {
        const record = offsetRecord(groupId, topic, partition, committedValue)
        const isTaken = read(record.key, record.value!)
        expect(isTaken).toBe(
          committedValue.expireTimestampMs === -1 &&
            ![groupId, topic, committedValue.metadata].some((t) => t.includes('\uFFFD')),
        )
        if (!isTaken) return
        const { groupId: g, topic: t, partition: p, value: v } = reader
        expect({ kind: 'offset', groupId: g, topic: t, partition: p }).toEqual(readKey(record.key))
        expect(v).toEqual(readOffsetValue(record.value!))
      }),
    )
  })

  it('takes nothing whose sizes do not add up, wherever a byte is changed or missing', () => {
    const { key, value } = offsetRecord('group', 'orders', 7, committed)
    const general = (k: Uint8Array, v: Uint8Array) => {
      try {
        return { ...readKey(k), ...readOffsetValue(v) }
      } catch (error) {
        if (error instanceof ProtocolError) return null
        throw error
      }
    }
    for (let i = 0; i < key.length + value!.length; i++) {
      for (const byte of [0, 1, 2, 127, 128, 255]) {
        const [k, v] = [Buffer.from(key), Buffer.from(value!)]
        if (i < k.length) k[i] = byte
        else v[i - k.length] = byte
        if (!read(k, v)) continue
        const { groupId, topic, partition, value: read_ } = reader
        expect({ kind: 'offset', groupId, topic, partition, ...read_ }).toEqual(general(k, v))
      }
      expect(read(key.subarray(0, i), value!)).toBe(i >= key.length)
      expect(read(key, value!.subarray(0, i))).toBe(i >= value!.length)
    }
  })
})

describe('group records', () => {
  it('are written as Kafka writes them: key 2, value 3', () => {
    const { key, value } = groupRecord('grüße', group)
    expect(hex(key)).toBe(GROUP_KEY)
    expect(hex(value)).toBe(GROUP_VALUES[3])
  })

  it('of an empty group have no protocol and no leader', () => {
    const empty = {
      protocolType: '',
      generationId: 0,
      protocolName: null,
      leader: null,
      stateTimestampMs: -1,
      members: [],
    }
    expect(hex(groupRecord('grüße', empty).value)).toBe(EMPTY_GROUP_VALUE)
    expect(readGroupValue(bytes(EMPTY_GROUP_VALUE))).toEqual(empty)
  })

  it.each([0, 1, 2, 3, 4] as const)('are read in version %i', (version) => {
    const read = readGroupValue(bytes(GROUP_VALUES[version]))
    expect(read).toEqual({
      ...group,
      stateTimestampMs: version < 2 ? -1 : group.stateTimestampMs,
      members: group.members.map((member) => ({
        ...member,
        groupInstanceId: version < 3 ? null : member.groupInstanceId,
        rebalanceTimeoutMs: version < 1 ? member.sessionTimeoutMs : member.rebalanceTimeoutMs,
      })),
    })
    expect(readKey(bytes(GROUP_KEY))).toEqual({ kind: 'group', groupId: 'grüße' })
  })
})

describe('other records', () => {
  it.each(['0003000161', '000f', '', '00', 'ffff00'])('with key %s belong to somebody else', (key) => {
    expect(readKey(bytes(key))).toBeNull()
  })

  it('that end too early or have versions that do not exist are errors, not guesses', () => {
    expect(() => readKey(bytes('0001000767'))).toThrow(ProtocolError)
    expect(() => readOffsetValue(bytes('000500000000'))).toThrow(ProtocolError)
    expect(() => readOffsetValue(bytes(OFFSET_VALUES[3].slice(0, -2)))).toThrow(ProtocolError)
    expect(() => readGroupValue(bytes(GROUP_VALUES[4].slice(0, -4)))).toThrow(ProtocolError)
    expect(() => readGroupValue(bytes(''))).toThrow(ProtocolError)
  })
})

describe('partitionOf', () => {
  it.each([
    ['', 0],
    ['a', 47],
    ['grüße', 23],
    ['my-group', 12],
    ['console-consumer-12345', 6],
    ['😀', 49],
    ['polygenelubricants', 0],
  ])('places %j where Kafka does, in partition %i of 50', (groupId, partition) => {
    expect(partitionOf(groupId, 50)).toBe(partition)
  })
})

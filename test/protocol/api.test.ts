// SPDX-License-Identifier: Apache-2.0
// Frames: headers, the golden exchanges of real clients with a real Kafka, and the types that tables give.
import { readFileSync } from 'node:fs'
import { describe, expect, expectTypeOf, test } from 'vitest'
import type { Request, RequestInit, Response, ResponseInit } from '../../src/protocol/api.ts'
import { responseCorrelationId } from '../../src/protocol/api.ts'
import {
  ApiVersions,
  allApis,
  apiByKey,
  DescribeCluster,
  decodeRequestHeader,
  Fetch,
  Heartbeat,
  JoinGroup,
  Metadata,
  Produce,
} from '../../src/protocol/apis/index.ts'
import { ErrorCode } from '../../src/protocol/errors.ts'
import { ProtocolError } from '../../src/protocol/protocol-error.ts'

interface Golden {
  api: string
  version: number
  client: string
  request: string
  response: string
}

/** Recorded between clients and Apache Kafka 4.3.1; whole frames, in hex. */
const goldens = JSON.parse(readFileSync(new URL('goldens.json', import.meta.url), 'utf8')) as Golden[]

function payloadOf(frame: string): Buffer {
  const bytes = Buffer.from(frame, 'hex')
  expect(bytes.readInt32BE(0)).toBe(bytes.length - 4)
  return bytes.subarray(4)
}

describe.each(goldens)('$api v$version of $client', ({ api: name, version, request, response }) => {
  const api = allApis.find((each) => each.name === name)!

  test('the request is read to its last byte and written as the client wrote it', () => {
    const payload = payloadOf(request)
    const header = decodeRequestHeader(payload)
    expect([header.apiKey, header.apiVersion]).toEqual([api.key, version])
    const options = { onTrailingBytes: (count: number) => expect.unreachable(`${count} bytes are left`) }
    const body = api.decodeRequest(version, payload, header.bodyOffset, options)
    expect(api.encodeRequest(version, header.correlationId, header.clientId, body).toString('hex')).toBe(request)
  })

  test('the response is read to its last byte and written as Kafka wrote it', () => {
    const payload = payloadOf(response)
    const options = { onTrailingBytes: (count: number) => expect.unreachable(`${count} bytes are left`) }
    const body = api.decodeResponse(version, payload, options)
    expect(api.encodeResponse(version, responseCorrelationId(payload), body).toString('hex')).toBe(response)
  })
})

function golden(name: string, version: number): Golden {
  return goldens.find((each) => each.api === name && each.version === version)!
}

test('what the goldens say is what was done when they were recorded', () => {
  const produced = payloadOf(golden('Produce', 7).request)
  const produce = Produce.decodeRequest(7, produced, decodeRequestHeader(produced).bodyOffset)
  expect(produce).toMatchObject({
    transactionalId: null,
    acks: -1,
    topicData: [{ name: 'golden', partitionData: [{ index: 0 }] }],
  })
  expect(Produce.decodeResponse(7, payloadOf(golden('Produce', 7).response)).responses[0]).toMatchObject({
    name: 'golden',
    partitionResponses: [{ errorCode: 0, baseOffset: 0, logAppendTimeMs: -1, logStartOffset: 0, recordErrors: [] }],
  })
  const joined = JoinGroup.decodeResponse(9, payloadOf(golden('JoinGroup', 9).response))
  expect(joined).toMatchObject({ errorCode: 0, generationId: 1, protocolType: 'consumer', protocolName: 'range' })
  expect(joined.members.map(({ memberId }) => memberId)).toEqual([joined.leader])
  const fetched = Fetch.decodeResponse(18, payloadOf(golden('Fetch', 18).response))
  expect(fetched.responses[0]!.partitions[0]).toMatchObject({ errorCode: 0, preferredReadReplica: -1 })
  const versions = ApiVersions.decodeResponse(4, payloadOf(golden('ApiVersions', 4).response))
  expect(versions.apiKeys[0]).toEqual({ apiKey: 0, minVersion: 0, maxVersion: 13 })
  expect(versions.finalizedFeatures.map(({ name }) => name)).toContain('metadata.version')
  expect(versions.supportedFeatures.length).toBeGreaterThan(0)
})

describe('headers, checked by hand', () => {
  // kcat 1.7.1 with librdkafka 2.0.2 asks with version 3, and again with 0 when told UNSUPPORTED_VERSION.
  const v3 = '00000024 0012 0003 00000001 0007 72646b61666b61 00 0b 6c696272646b61666b61 06 322e302e32 00'.replaceAll(
    ' ',
    '',
  )
  const v0 = '00000011 0012 0000 00000002 0007 72646b61666b61'.replaceAll(' ', '')

  test('ApiVersions v3 of kcat: flexible header, client id not compact', () => {
    const header = decodeRequestHeader(payloadOf(v3))
    expect(header).toEqual({
      apiKey: 18,
      apiVersion: 3,
      correlationId: 1,
      clientId: 'rdkafka',
      flexible: true,
      bodyOffset: 18,
    })
    const body = ApiVersions.decodeRequest(3, payloadOf(v3), 18)
    expect(body).toEqual({
      clientSoftwareName: 'librdkafka',
      clientSoftwareVersion: '2.0.2',
      clusterId: null,
      nodeId: -1,
    })
    expect(ApiVersions.encodeRequest(3, 1, 'rdkafka', body).toString('hex')).toBe(v3)
  })

  test('ApiVersions v0 of kcat: plain header, no body', () => {
    const header = decodeRequestHeader(payloadOf(v0))
    expect(header).toMatchObject({ apiVersion: 0, correlationId: 2, flexible: false, bodyOffset: 17 })
    expect(ApiVersions.encodeRequest(0, 2, 'rdkafka', {}).toString('hex')).toBe(v0)
  })

  test('the header of a response to ApiVersions is plain in all versions, that of other flexible ones has tagged fields', () => {
    const answer = { errorCode: 0, apiKeys: [] }
    expect(ApiVersions.encodeResponse(3, 9, answer).toString('hex')).toBe(
      '0000000c 00000009 0000 01 00000000 00'.replaceAll(' ', ''),
    )
    expect(Heartbeat.encodeResponse(4, 9, { errorCode: 0 }).toString('hex')).toBe(
      '0000000c 00000009 00 00000000 0000 00'.replaceAll(' ', ''),
    )
    expect(Heartbeat.encodeResponse(3, 9, { errorCode: 0 }).toString('hex')).toBe(
      '0000000a 00000009 00000000 0000'.replaceAll(' ', ''),
    )
  })

  test('UNSUPPORTED_VERSION to any ApiVersions has the shape of version 0, its error where every version has it', () => {
    const answer = { errorCode: ErrorCode.UNSUPPORTED_VERSION, apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 4 }] }
    const payload = ApiVersions.encodeResponse(0, 9, answer).subarray(4)
    expect(payload.toString('hex')).toBe('00000009 0023 00000001 0012 0000 0004'.replaceAll(' ', ''))
    expect(payload.readInt16BE(4)).toBe(35)
  })

  test('the header of an ApiVersions request of a version yet unknown is read, so that it can be answered', () => {
    const frame = payloadOf(v3)
    frame.writeInt16BE(99, 2)
    expect(decodeRequestHeader(frame)).toMatchObject({ apiVersion: 99, correlationId: 1, flexible: true })
    frame.writeInt16BE(-1, 2)
    expect(decodeRequestHeader(frame)).toMatchObject({ apiVersion: -1, correlationId: 1, flexible: false })
  })

  test('a client id can be sent back, whatever its bytes were', () => {
    const header = Buffer.concat([Buffer.from('000c0000000000017fff', 'hex'), Buffer.alloc(32_767, 0xff)])
    const { clientId, bodyOffset } = decodeRequestHeader(header)
    expect(Buffer.byteLength(clientId!)).toBeLessThanOrEqual(32_767)
    expect(bodyOffset).toBe(header.length)
  })

  test('a client id that is null or no UTF-8 is no error', () => {
    expect(decodeRequestHeader(Buffer.from('000c 0000 00000001 ffff'.replaceAll(' ', ''), 'hex')).clientId).toBeNull()
    expect(decodeRequestHeader(Buffer.from('000c 0000 00000001 0001 ff'.replaceAll(' ', ''), 'hex')).clientId).toBe(
      '\uFFFD',
    )
  })

  test('unknown tagged fields in a header are stepped over', () => {
    const header = Buffer.from('000c 0004 00000001 0000 02 05 02 aabb 06 00'.replaceAll(' ', ''), 'hex')
    expect(decodeRequestHeader(header).bodyOffset).toBe(header.length)
    const response = Buffer.from('00000001 01 05 02 aabb 00000007 0019 00'.replaceAll(' ', ''), 'hex')
    expect(Heartbeat.decodeResponse(4, response)).toEqual({ throttleTimeMs: 7, errorCode: 25 })
  })

  test('a key without a table is an error of kind unsupported, a header cut short of kind truncated', () => {
    const kindOf = (hex: string) => {
      try {
        decodeRequestHeader(Buffer.from(hex, 'hex'))
        return 'none'
      } catch (error) {
        return (error as ProtocolError).kind
      }
    }
    expect(kindOf('0004000000000001ffff')).toBe('unsupported')
    expect(kindOf('fffe000000000001ffff')).toBe('unsupported')
    const frame = payloadOf(v3).subarray(0, 18)
    for (let size = 0; size < 18; size++) expect(kindOf(frame.subarray(0, size).toString('hex'))).toBe('truncated')
  })
})

test('apiByKey knows the listed keys and no others', () => {
  expect(allApis.map(({ key }) => key)).toEqual([
    0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 22, 23, 32, 37, 42, 60,
  ])
  for (const api of allApis) expect(apiByKey(api.key)).toBe(api)
  expect(apiByKey(4)).toBeUndefined()
  expect(apiByKey(-1)).toBeUndefined()
})

test('Produce is advertised from version 0 but served from 3', () => {
  expect([Produce.advertised, Produce.served]).toEqual([
    [0, 13],
    [3, 13],
  ])
  expect([Produce.isServed(2), Produce.isServed(3), Produce.isServed(14)]).toEqual([false, true, false])
  expect(DescribeCluster.advertised).toEqual([0, 2])
})

test('frames that were handed out stay as they are while others are written', () => {
  const frames = Array.from({ length: 5000 }, (_, i) => Heartbeat.encodeResponse(4, i, { errorCode: i % 100 }))
  const large = Metadata.encodeResponse(9, 1, { brokers: [], topics: [], clusterId: 'c'.repeat(32_000) })
  const more = Array.from({ length: 100 }, (_, i) => Heartbeat.encodeResponse(4, i, { errorCode: 1 }))
  expect(Metadata.decodeResponse(9, large.subarray(4)).clusterId).toBe('c'.repeat(32_000))
  frames.forEach((frame, i) => {
    expect(responseCorrelationId(frame.subarray(4))).toBe(i)
    expect(Heartbeat.decodeResponse(4, frame.subarray(4)).errorCode).toBe(i % 100)
  })
  expect(new Set(more.map((frame) => frame.buffer)).size).toBe(1)
})

test('a message that fails to encode leaves nothing behind in the next frame', () => {
  const before = Heartbeat.encodeResponse(4, 1, { errorCode: 0 })
  expect(() => Heartbeat.encodeResponse(4, 1, { errorCode: 70_000 })).toThrow(ProtocolError)
  expect(Heartbeat.encodeResponse(4, 1, { errorCode: 0 }).equals(before)).toBe(true)
})

test('types follow from the table', () => {
  type HeartbeatRequest = Request<typeof Heartbeat>
  expectTypeOf<HeartbeatRequest['groupId']>().toEqualTypeOf<string>()
  expectTypeOf<HeartbeatRequest['groupInstanceId']>().toEqualTypeOf<string | null>()
  expectTypeOf<Response<typeof Heartbeat>['throttleTimeMs']>().toEqualTypeOf<number>()
  expectTypeOf<Request<typeof Metadata>['topics']>().extract<unknown[]>().items.toHaveProperty('topicId')
  expectTypeOf<
    Request<typeof Produce>['topicData'][number]['partitionData'][number]['records']
  >().toEqualTypeOf<Buffer | null>()
  expectTypeOf<{ errorCode: number }>().toExtend<ResponseInit<typeof Heartbeat>>()
  expectTypeOf<{ throttleTimeMs: number }>().not.toExtend<ResponseInit<typeof Heartbeat>>()
  expectTypeOf<{ groupId: string; generationId: number; memberId: string }>().toExtend<RequestInit<typeof Heartbeat>>()
  expectTypeOf<{ groupId: number; generationId: number; memberId: string }>().not.toExtend<
    RequestInit<typeof Heartbeat>
  >()
  expectTypeOf<Response<typeof Metadata>>().toExtend<ResponseInit<typeof Metadata>>()
  expectTypeOf<Request<typeof Fetch>>().toExtend<RequestInit<typeof Fetch>>()
  expectTypeOf<Fetch18Aborted>().toEqualTypeOf<bigint>()
})
type Fetch18Aborted = NonNullable<
  Response<typeof Fetch>['responses'][number]['partitions'][number]['abortedTransactions']
>[number]['producerId']

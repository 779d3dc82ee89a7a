// SPDX-License-Identifier: Apache-2.0
// CreateTopics (19): makes topics, or with validateOnly says whether it could.
//   configs of the answer must be an empty array where there are none: Java's tools fail on null.
//   4 numPartitions and replicationFactor -1 for the broker's defaults (KIP-464) · 5 flexible, configs in the answer
//   (KIP-525) · 6 THROTTLING_QUOTA_EXCEEDED (KIP-599) · 7 topic id in the answer (KIP-516)
import { api } from '../api.ts'
import { array, bool, int8, int16, int32, string, topicName, uuid } from '../schema.ts'

export const CreateTopics = api(19, 'CreateTopics', {
  versions: [2, 7],
  flexible: 5,
  request: {
    topics: array({
      name: topicName,
      numPartitions: int32,
      replicationFactor: int16,
      assignments: array({
        partitionIndex: int32,
        brokerIds: array(int32),
      }),
      configs: array({
        name: string,
        value: string.nullable(),
      }),
    }),
    timeoutMs: int32.default(60_000),
    validateOnly: bool.default(false),
  },
  response: {
    throttleTimeMs: int32.default(0),
    topics: array({
      name: topicName,
      topicId: uuid.in('7+').ignorable(),
      errorCode: int16,
      errorMessage: string.nullable(),
      topicConfigErrorCode: int16.in('5+').tagged(0).ignorable(),
      numPartitions: int32.in('5+').default(-1).ignorable(),
      replicationFactor: int16.in('5+').default(-1).ignorable(),
      configs: array({
        name: string,
        value: string.nullable(),
        readOnly: bool,
        configSource: int8.default(-1),
        isSensitive: bool,
      })
        .in('5+')
        .nullable()
        .ignorable(),
    }),
  },
})

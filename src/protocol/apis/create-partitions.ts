// SPDX-License-Identifier: Apache-2.0
// CreatePartitions (37): raises the number of partitions of topics.
//   1 throttling after the answer (KIP-219) · 2 flexible · 3 THROTTLING_QUOTA_EXCEEDED (KIP-599)
import { api } from '../api.ts'
import { array, bool, int16, int32, string, topicName } from '../schema.ts'

export const CreatePartitions = api(37, 'CreatePartitions', {
  versions: [0, 3],
  flexible: 2,
  request: {
    topics: array({
      name: topicName,
      count: int32,
      assignments: array({
        brokerIds: array(int32),
      }).nullable(),
    }),
    timeoutMs: int32,
    validateOnly: bool,
  },
  response: {
    throttleTimeMs: int32.default(0),
    results: array({
      name: topicName,
      errorCode: int16,
      errorMessage: string.nullable().default(null),
    }),
  },
})

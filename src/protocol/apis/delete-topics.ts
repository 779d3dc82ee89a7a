// SPDX-License-Identifier: Apache-2.0
// DeleteTopics (20): deletes topics, by name up to version 5, by name or id from 6 on.
//   4 flexible · 5 error message, THROTTLING_QUOTA_EXCEEDED (KIP-599) · 6 topic ids (KIP-516)
import { api } from '../api.ts'
import { array, int16, int32, string, topicName, uuid } from '../schema.ts'

export const DeleteTopics = api(20, 'DeleteTopics', {
  versions: [1, 6],
  flexible: 4,
  request: {
    topics: array({
      name: topicName.nullable().default(null),
      topicId: uuid,
    }).in('6+'),
    topicNames: array(topicName).in('1-5').ignorable(),
    timeoutMs: int32,
  },
  response: {
    throttleTimeMs: int32.default(0),
    responses: array({
      name: topicName.nullable('6+'),
      topicId: uuid.in('6+').ignorable(),
      errorCode: int16,
      errorMessage: string.in('5+').nullable().default(null).ignorable(),
    }),
  },
})

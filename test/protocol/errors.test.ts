// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { ErrorCode, errorByCode, errorByName, errorTable } from '../../src/protocol/errors.ts'

test('every error is found by its code and by its name, and the codes leave no gap', () => {
  expect(errorTable.map(({ code }) => code)).toEqual(Array.from({ length: 138 }, (_, i) => i - 1))
  for (const error of errorTable) {
    expect(errorByCode(error.code)).toBe(error)
    expect(errorByName(error.name)).toBe(error)
    expect(ErrorCode[error.name]).toBe(error.code)
    expect(error.message).toMatch(/\.$/)
  }
})

test('a code of a newer broker reads as UNKNOWN_SERVER_ERROR, which is not retried', () => {
  expect(errorByCode(9999)).toMatchObject({ name: 'UNKNOWN_SERVER_ERROR', retriable: false })
})

test('retriable is what a client may send again unchanged', () => {
  const retriable = (['NOT_LEADER_OR_FOLLOWER', 'CORRUPT_MESSAGE', 'NOT_COORDINATOR'] as const).map(errorByName)
  const fatal = (['MESSAGE_TOO_LARGE', 'INVALID_RECORD', 'NONE', 'MEMBER_ID_REQUIRED'] as const).map(errorByName)
  expect(retriable.every((error) => error.retriable)).toBe(true)
  expect(fatal.some((error) => error.retriable)).toBe(false)
})

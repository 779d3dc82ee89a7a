// SPDX-License-Identifier: Apache-2.0
import { expect, it } from 'vitest'
import { type StartBrokerOptions, startBroker } from '../../src/testing/index.ts'

it.each([
  [{ topic: ['orders'] }, /startBroker has no option topic; it has topics/],
  [{ topics: 'orders' }, /topics must be an array, got string/],
  [{ configs: { 'log.dirs': '/tmp/x' } }, /configs must not have log\.dirs: the options dir and listen/],
  [{ configs: { listeners: '127.0.0.1:0' } }, /configs must not have listeners/],
])('refuses %j, which would not do what it says', async (options, text) => {
  await expect(startBroker(options as unknown as StartBrokerOptions)).rejects.toThrow(text)
})

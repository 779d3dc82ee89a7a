// SPDX-License-Identifier: Apache-2.0
import { expect, it } from 'vitest'
import { AddressLimits } from '../../src/broker/address-limits.ts'
import { VirtualClock } from '../util/virtual-seams.ts'

function limits(connectionsMax = 2, creationRateMax = 3) {
  const clock = new VirtualClock()
  return { clock, limits: new AddressLimits({ connectionsMax, creationRateMax, clock }) }
}

it('refuses a connection too many, until one has left', () => {
  const { limits: tested } = limits()
  expect([tested.enter('a'), tested.enter('a'), tested.enter('a')]).toEqual([
    null,
    null,
    'max.connections.per.ip is reached',
  ])
  expect(tested.enter('b')).toBeNull()
  tested.leave('a')
  expect(tested.enter('a')).toBeNull()
})

it('refuses connections that are made too fast, also by one that leaves at once', () => {
  const { clock, limits: tested } = limits()
  for (let i = 0; i < 3; i++) {
    expect(tested.enter('a')).toBeNull()
    tested.leave('a')
  }
  expect(tested.enter('a')).toBe('max.connection.creation.rate is reached')
  clock.nowMs += 1000
  expect(tested.enter('a')).toBeNull()
})

it('forgets addresses that left, also behind one that stays', () => {
  const { clock, limits: tested } = limits()
  tested.enter('stays')
  for (let i = 0; i < 1000; i++) {
    tested.enter(`10.0.0.${i}`)
    tested.leave(`10.0.0.${i}`)
  }
  clock.nowMs += 1000
  tested.enter('next')
  expect(tested.size).toBe(2)
  expect(tested.enter('stays')).toBeNull()
  expect(tested.enter('stays')).toBe('max.connections.per.ip is reached')
})

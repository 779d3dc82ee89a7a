// SPDX-License-Identifier: Apache-2.0
// Tests that hold varve to Kafka's own code. They need Java, and Maven on the first run; without them they fail.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/conformance/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 600_000,
    pool: 'forks',
    maxWorkers: 1,
  },
})

// SPDX-License-Identifier: Apache-2.0
// Tests that need a real kernel's help: root for mounts and limits, strace, mkfs.ext4, python3. Without them they fail and say so;
// `npm test` needs none of them.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    // Needs nothing but Node: it is part of npm test.
    exclude: ['test/faults/kill.test.ts'],
    testTimeout: 300_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 1,
  },
})

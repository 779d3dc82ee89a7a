import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Needs Java: npm run test:conformance. Needs root, strace and mkfs.ext4: npm run test:faults.
    exclude: ['test/conformance/**', 'test/faults/!(kill).test.ts'],
    // Child processes, real sockets and fsyncs on two shared cores: slow is not hung.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
})

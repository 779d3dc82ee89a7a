import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Needs Java: npm run test:conformance.
    exclude: ['test/conformance/**'],
    // Child processes, real sockets and fsyncs on two shared cores: slow is not hung.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
})

// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { configDocs } from '../../../scripts/config-docs.ts'

it('docs/configuration.md is what `npm run docs:config` prints', () => {
  const written = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8')
  expect(written === configDocs(), 'docs/configuration.md is out of date: run npm run docs:config').toBe(true)
})

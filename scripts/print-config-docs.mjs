// SPDX-License-Identifier: Apache-2.0
// Writes docs/configuration.md from the config tables.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const here = dirname(fileURLToPath(import.meta.url))
const bundle = await rolldown({ input: join(here, 'config-docs.ts'), platform: 'node', logLevel: 'silent' })
const { output } = await bundle.generate({ format: 'esm' })
await bundle.close()
const { configDocs } = await import(`data:text/javascript,${encodeURIComponent(output[0].code)}`)
const docs = join(here, '..', 'docs')
mkdirSync(docs, { recursive: true })
writeFileSync(join(docs, 'configuration.md'), configDocs())

// SPDX-License-Identifier: Apache-2.0
// Goal: the directions of imports that ARCHITECTURE.md draws stay true. Method: read every import and #include.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '../..')

/** Folder (or file) of src/ → what it may import besides itself, util and errors. */
const ALLOWED: Record<string, readonly string[]> = {
  util: [],
  'errors.ts': ['protocol'],
  protocol: [],
  storage: ['protocol'],
  partition: ['storage', 'protocol'],
  security: ['protocol'],
  coordinator: ['partition', 'protocol'],
  cluster: ['partition', 'protocol', 'client'],
  broker: ['cluster', 'coordinator', 'partition', 'protocol', 'security', 'storage'],
  client: ['protocol', 'security'],
  testing: ['broker', 'client'],
  metrics: ['broker'],
  console: ['broker', 'client'],
  cli: ['broker', 'client', 'protocol', 'storage', 'testing'],
  'index.ts': ['client', 'testing'],
}
/** Folder of native/ → whose headers it may include. Only binding knows Node. */
const NATIVE: Record<string, readonly string[]> = {
  core: ['core'],
  plane: ['core', 'plane'],
  binding: ['core', 'plane', 'binding'],
}
/** Time, chance, files and sockets come through seams here. */
const SEAMED = ['coordinator', 'cluster', 'client']
const BANNED =
  /\b(?:Date\.now|new Date|setTimeout|setInterval|setImmediate|Math\.random|performance\.now)\b|from 'node:(?:net|fs|fs\/promises|crypto|timers|dgram|tls)'/

function filesOf(folder: string, ending: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && ending.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
}

const topOf = (path: string): string => relative(join(root, 'src'), path).split('/')[0]!

describe('layering', () => {
  const sources = filesOf('src', /\.ts$/)

  it('lets each folder of src import only what lies below it', () => {
    const wrong: string[] = []
    for (const path of sources) {
      const from = topOf(path)
      const allowed = ALLOWED[from]
      if (allowed === undefined) wrong.push(`${relative(root, path)}: its folder is not in the table`)
      for (const [, specifier] of readFileSync(path, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
        const to = topOf(resolve(dirname(path), specifier!))
        if (to !== from && to !== 'util' && to !== 'errors.ts' && !allowed?.includes(to))
          wrong.push(`${relative(root, path)} imports ${specifier}`)
      }
    }
    expect(wrong).toEqual([])
    expect(sources.length).toBeGreaterThan(50)
  })

  it('loads the addon in one module only', () => {
    const loaders = sources.filter((path) => readFileSync(path, 'utf8').includes(".node'"))
    expect(loaders.map((path) => relative(root, path))).toEqual(['src/storage/native.ts'])
  })

  it('keeps handlers from importing each other', () => {
    const wrong = filesOf('src/broker/handlers', /\.ts$/)
      .filter((path) => !/(?:index|duplicates)\.ts$/.test(path))
      .flatMap((path) =>
        [...readFileSync(path, 'utf8').matchAll(/from '(\.\/[^']+)'/g)]
          .map(([, specifier]) => specifier!)
          // api-versions.ts answers with the list itself.
          .filter((specifier) => !['./index.ts', './duplicates.ts'].includes(specifier))
          .map((specifier) => `${relative(root, path)} imports ${specifier}`),
      )
    expect(wrong).toEqual([])
  })

  it('takes time, chance, files and sockets through seams in coordinator, cluster and client', () => {
    const wrong = sources
      .filter((path) => SEAMED.includes(topOf(path)))
      .filter((path) => BANNED.test(readFileSync(path, 'utf8').replace(/^\s*\/\/.*$/gm, '')))
    expect(wrong.map((path) => relative(root, path))).toEqual([])
  })

  it('lets native core know neither plane nor Node, and plane not Node', () => {
    const wrong: string[] = []
    for (const [folder, allowed] of Object.entries(NATIVE))
      for (const path of filesOf(`native/${folder}`, /\.(?:h|cc)$/))
        for (const [, header] of readFileSync(path, 'utf8').matchAll(/#include\s+["<]([^">]+)[">]/g)) {
          const [first, rest] = header!.split('/')
          const ours = rest !== undefined && ['core', 'plane', 'binding'].includes(first!)
          if (ours && !allowed.includes(first!)) wrong.push(`${relative(root, path)} includes ${header}`)
          if (folder !== 'binding' && /^(?:napi|node_api|js_native_api|uv|v8)\.h$/.test(header!))
            wrong.push(`${relative(root, path)} includes ${header}`)
        }
    expect(wrong).toEqual([])
  })
})

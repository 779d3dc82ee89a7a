// SPDX-License-Identifier: Apache-2.0
// Goal: ARCHITECTURE.md and CONTRIBUTING.md name tests, files and commands that are there. Method: look each one up.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '../..')
const read = (name: string): string => readFileSync(join(root, name), 'utf8')

describe('ARCHITECTURE.md', () => {
  const text = read('ARCHITECTURE.md')

  it('gives every invariant tests that exist', () => {
    const native = readdirSync(join(root, 'native/test'))
    const rows = text.split('\n').filter((line) => /^\| \d+ \|/.test(line))
    expect(rows.length).toBeGreaterThan(15)
    const wrong = rows.flatMap((row) => {
      const heldBy = row.split('|').at(-2)!
      const named = [...heldBy.matchAll(/`([^`]+)`/g)].map(([, name]) => name!)
      const missing = named.filter((name) => {
        if (/^\w+_test$/.test(name)) return !native.includes(`${name}.cc`)
        if (name.startsWith('npm run ')) return !Object.hasOwn(scripts, name.slice('npm run '.length))
        return !existsSync(join(root, name)) && !existsSync(join(root, `${name}.test.ts`))
      })
      return named.length === 0 ? [`${row} names no test`] : missing.map((name) => `${name} is not there`)
    })
    expect(wrong).toEqual([])
  })

  it('maps questions to files that exist', () => {
    const paths = [...text.matchAll(/`((?:native|src|docs|test)\/[\w./-]*)(?:\{([\w.,]+)\})?`/g)].flatMap(
      ([, path, names]) => (names === undefined ? [path!] : names.split(',').map((name) => path! + name)),
    )
    expect(paths.length).toBeGreaterThan(15)
    const found = (path: string): boolean =>
      [path, `${path}.h`, `${path}.cc`, `${path}.test.ts`].some((name) => existsSync(join(root, name)))
    expect(paths.filter((path) => !path.includes('NAME') && !found(path))).toEqual([])
  })
})

const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }

describe('CONTRIBUTING.md, README.md and .ci/run', () => {
  it('names files for its promises that exist', () => {
    const text = read('CONTRIBUTING.md')
    const section = text.slice(text.indexOf('## What is promised'), text.indexOf('## House rules'))
    const paths = [...section.matchAll(/((?:native|scripts|test)\/[\w./-]*)(?:\{([\w,-]+)\}([\w.]*))?/g)].flatMap(
      ([, path, names, ending]) =>
        names === undefined ? [path!] : names.split(',').map((name) => `${path}${name}${ending ?? ''}`),
    )
    expect(paths.length).toBeGreaterThan(10)
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([])
  })

  it('name npm scripts that exist', () => {
    const builtIn = new Set(['ci', 'install', 'start', 'test', 'pack', 'publish'])
    const named = ['CONTRIBUTING.md', 'README.md', 'bench/README.md', '.ci/run', 'test/compat/README.md'].flatMap(
      (file) => [...read(file).matchAll(/\bnpm run ([\w:]+)/g)].map(([, name]) => name!),
    )
    expect(named.length).toBeGreaterThan(8)
    expect(named.filter((name) => !builtIn.has(name) && !Object.hasOwn(scripts, name))).toEqual([])
  })
})

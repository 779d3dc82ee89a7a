// SPDX-License-Identifier: Apache-2.0
// Goal: what npm would publish can be imported, required, type-checked, built and run. Method: child processes that come in by the
// package's own name, and npm's list of files. Builds nothing: dist/ is what `npm ci` made.
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'

const root = resolve(import.meta.dirname, '../..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string
  bin: { varve: string }
  exports: Record<string, string | Record<string, Record<string, string>>>
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
  scripts: Record<string, string>
}
const DOORS = ['varve', 'varve/storage', 'varve/testing'] as const
const NAMES: Record<(typeof DOORS)[number], readonly string[]> = {
  varve: ['KafkaError', 'startBroker'],
  'varve/storage': ['Engine', 'Log', 'LogBatch', 'LogRecord', 'StorageError', 'StorageErrorCode', 'openEngine'],
  'varve/testing': ['startBroker'],
}

interface Ended {
  code: number | null
  out: string
  err: string
}

function run(command: string, args: readonly string[], cwd = root): Ended {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 50_000 })
  if (error !== undefined) throw error
  return { code: status, out: stdout, err: stderr }
}

function node(type: 'module' | 'commonjs', program: string, cwd = root): unknown {
  const { code, out, err } = run(process.execPath, [`--input-type=${type}`, '-e', program], cwd)
  if (code !== 0) throw new Error(`the program ended with ${code}: ${err}`)
  return JSON.parse(out)
}

function varve(...args: string[]): Ended {
  return run(process.execPath, [join(root, manifest.bin.varve), ...args])
}

function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'varve-package-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

beforeAll(() => {
  for (const file of ['dist/index.js', 'dist/cjs/index.cjs', 'dist/cli/main.js'])
    if (!existsSync(join(root, file))) throw new Error(`${file} is missing: npm run build:ts makes it`)
})

describe('the doors', () => {
  it.each(DOORS)('%s has the same names by import and by require', (door) => {
    const print = 'console.log(JSON.stringify(Object.keys(door).sort()))'
    expect(node('module', `import * as door from '${door}'; ${print}`)).toEqual(NAMES[door])
    expect(node('commonjs', `const door = require('${door}'); ${print}`)).toEqual(NAMES[door])
  })

  it.each([
    ['module', (door: string) => `await import('${door}')`],
    ['commonjs', (door: string) => `require('${door}')`],
  ] as const)('has one StorageError, whichever door an error came through (%s)', (type, load) => {
    const dir = temporaryDirectory()
    const program = `
      const { openEngine, StorageError } = ${load('varve/storage')}
      const { startBroker } = ${load('varve')}
      const testing = ${load('varve/testing')}
      const main = async () => {
        const engine = await openEngine({ dir: ${JSON.stringify(dir)} })
        const error = await startBroker({ dir: ${JSON.stringify(dir)} }).catch((refused) => refused)
        await engine.close()
        return [error instanceof StorageError, error.code, testing.startBroker === startBroker]
      }
      main().then((found) => console.log(JSON.stringify(found)))`
    expect(node(type, program)).toEqual([true, 'LOCKED', true])
  })

  it('lets nothing in but the doors', () => {
    const program = `
      const codeOf = (name) => import(name).then(() => 'taken', (error) => error.code)
      const codes = await Promise.all(['varve/dist/storage/native.js', 'varve/storage/index.js'].map(codeOf))
      console.log(JSON.stringify(codes))`
    expect(node('module', program)).toEqual(['ERR_PACKAGE_PATH_NOT_EXPORTED', 'ERR_PACKAGE_PATH_NOT_EXPORTED'])
  })

  it('have their files and their types where package.json says', () => {
    const targets = Object.values(manifest.exports).flatMap((door) =>
      typeof door === 'string' ? [door] : Object.values(door).flatMap((by) => Object.values(by)),
    )
    expect(targets.length).toBe(DOORS.length * 4 + 1)
    expect(targets.filter((target) => !existsSync(join(root, target)))).toEqual([])
  })

  it('import nothing that is not a dependency', () => {
    const files = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' }).filter((name) =>
      /\.c?js$/.test(name),
    )
    const foreign = new Set<string>()
    for (const file of files)
      for (const [, specifier] of readFileSync(join(root, 'dist', file), 'utf8').matchAll(
        /\b(?:from|import|require|import\(|require\()\s*\(?["']([@a-z][\w@/:.-]*)["']/g,
      )) {
        const name = specifier!
          .split('/')
          .slice(0, specifier!.startsWith('@') ? 2 : 1)
          .join('/')
        if (!isBuiltin(specifier!) && !Object.hasOwn(manifest.dependencies, name)) foreign.add(specifier!)
      }
    expect([...foreign]).toEqual([])
    expect(files.length).toBeGreaterThan(50)
  })

  it('use every dependency: something imports it, or a script runs it', () => {
    const { code, out } = run('git', ['ls-files', 'src', 'test', 'bench', 'scripts', 'binding.gyp', ':!test/compat'])
    const files = out.split('\n').filter((file) => /\.(?:[cm]?[jt]s|gyp)$/.test(file))
    const imported = new Set<string>()
    for (const file of files)
      for (const [, name] of readFileSync(join(root, file), 'utf8').matchAll(
        /\b(?:from|import|require)\s*\(?\s*["']((?:@[\w.-]+\/)?[a-z][\w.-]*)/g,
      ))
        imported.add(name!)
    const ran = new Set(Object.values(manifest.scripts).flatMap((script) => script.split(/[^\w-]+/)))
    const unused = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }).filter((name) => {
      const { bin } = JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')) as {
        bin?: string | Record<string, string>
      }
      const commands = typeof bin === 'object' ? Object.keys(bin) : [name]
      return !imported.has(name) && !name.startsWith('@types/') && !commands.some((command) => ran.has(command))
    })
    expect([code, unused]).toEqual([0, []])
    expect(files.length).toBeGreaterThan(50)
  })
})

describe('the engine as the README shows it', () => {
  // Every call of it, in a program that came in by the package's name.
  const program = (dir: string): string => `
    const main = async () => {
      const seen = []
      const engine = await openEngine({ dir: ${JSON.stringify(dir)}, flush: 'commit' })
      const log = engine.log('orders', 0)
      const timestamp = 1_700_000_000_000
      const { baseOffset } = log.append([{ key: 'k', value: 'v', headers: { source: 'web' }, timestamp }])
      await log.flush()
      await log.appendDurable([{ value: 'v2', timestamp: timestamp + 5 }])
      for (const record of log.read(baseOffset, { maxBytes: 1 << 20 })) {
        const { offset, key, value, headers } = record
        seen.push([offset, key?.toString(), value?.toString(), headers.source?.toString(), record.timestamp - timestamp])
      }
      const stop = new AbortController()
      const batches = []
      for await (const batch of log.follow({ from: 0, signal: stop.signal })) {
        batches.push(batch.baseOffset)
        if (batches.length === 2) log.append([{ value: 'v3', timestamp: timestamp + 9 }])
        if (batches.length === 3) stop.abort()
      }
      seen.push(batches, [log.startOffset, log.endOffset, log.offsetForTimestamp(timestamp + 1)])
      const copy = [...log.read(2)][0].copy()
      await engine.close()
      const memory = await openEngine({ memory: true, flush: 'os' })
      seen.push([copy.value.toString(), memory.log('other').append([{ value: 'x' }]).baseOffset])
      await memory.close()
      const again = await openEngine({ dir: ${JSON.stringify(dir)} })
      seen.push([...again.log('orders', 0).read(0)].map((record) => record.value.toString()))
      await again.close()
      return seen
    }
    main().then((seen) => console.log(JSON.stringify(seen)))`

  it.each([
    ['module', "import { openEngine } from 'varve/storage'"],
    ['commonjs', "const { openEngine } = require('varve/storage')"],
  ] as const)('runs as a %s', (type, load) => {
    expect(node(type, `${load}\n${program(temporaryDirectory())}`)).toEqual([
      [0, 'k', 'v', 'web', 0],
      [1, null, 'v2', null, 5],
      [0, 1, 2],
      [0, 3, 1],
      ['v3', 0],
      ['v', 'v2', 'v3'],
    ])
  })
})

describe('the types', () => {
  const PROGRAM = `
    const run = async (): Promise<number> => {
      const engine: Engine = await openEngine({ memory: true })
      const log = engine.log('orders', 0)
      const { baseOffset } = log.append([{ key: 'k', value: 'v', headers: { a: 'b' } }])
      await log.appendDurable([{ value: 'v2' }])
      let size = 0
      for (const record of log.read(baseOffset, { maxBytes: 1 << 20 })) {
        const view: Buffer | null = record.value
        size += (view?.length ?? 0) + record.offset + record.timestamp + Object.keys(record.headers).length
      }
      const signal: AbortSignal = AbortSignal.timeout(1)
      for await (const batch of log.follow({ from: 0, signal })) size += batch.recordCount
      size += log.startOffset + log.endOffset + log.offsetForTimestamp(0)
      await log.flush()
      // @ts-expect-error
      log.append([{ value: 5 }])
      await engine.close()
      const broker: RunningBroker = await startBroker({ topics: ['orders'], configs: { 'num.partitions': '3' } })
      const bootstrap: string = broker.bootstrap
      // @ts-expect-error
      broker.bootstrap = 1
      await broker.stop()
      return size + bootstrap.length
    }
    run().catch((error: unknown) => {
      if (error instanceof StorageError && error.code === 'LOCKED') return
      if (error instanceof KafkaError && error.retriable) return
      throw error
    })
  `

  it.each([
    [
      'consumer.mts',
      `import { KafkaError, type RunningBroker, startBroker } from 'varve'
       import { type Engine, openEngine, StorageError } from 'varve/storage'
       import * as testing from 'varve/testing'
       export const same: boolean = testing.startBroker === startBroker`,
    ],
    [
      'consumer.cts',
      `import varve = require('varve')
       import storage = require('varve/storage')
       import testing = require('varve/testing')
       const { KafkaError, startBroker } = varve
       const { openEngine, StorageError } = storage
       type RunningBroker = varve.RunningBroker
       type Engine = storage.Engine
       export = testing.startBroker === startBroker`,
    ],
  ])('resolve for %s, and refuse what is not there', (file, imports) => {
    const project = temporaryDirectory()
    mkdirSync(join(project, 'node_modules'))
    for (const [name, target] of [
      ['varve', root],
      ['@types', join(root, 'node_modules/@types')],
    ] as const)
      symlinkSync(target, join(project, 'node_modules', name))
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023', 'esnext.disposable'],
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
    }
    writeFileSync(join(project, 'package.json'), '{}')
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }))
    writeFileSync(join(project, file), `${imports}\n${PROGRAM}`)
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    expect(run(process.execPath, [tsc, '-p', '.'], project)).toEqual({ code: 0, out: '', err: '' })
  })
})

describe('the package', () => {
  const packed = (): string[] => {
    // prepare would build dist/ anew under the other tests.
    const { code, out, err } = run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'])
    if (code !== 0) throw new Error(`npm pack ended with ${code}: ${err}`)
    const [listed] = JSON.parse(out) as Array<{ files: Array<{ path: string }> }>
    return listed!.files.map(({ path }) => path)
  }

  it('holds all that it is built from, its doors, and nothing else', () => {
    const files = packed()
    const { out } = run(process.execPath, ['native/list-sources.cjs', 'core', 'plane', 'binding'])
    const sources = out.trim().split('\n')
    expect(sources.length).toBeGreaterThan(40)
    const headers = ['core', 'plane', 'binding'].flatMap((folder) =>
      readdirSync(join(root, 'native', folder))
        .filter((name) => name.endsWith('.h'))
        .map((name) => `native/${folder}/${name}`),
    )
    const needed = [
      ...['package.json', 'binding.gyp', 'native/list-sources.cjs', 'LICENSE', 'README.md', 'CHANGELOG.md'],
      ...['dist/index.js', 'dist/index.d.ts', 'dist/cjs/index.cjs', 'dist/cjs/package.json', 'dist/cli/main.js'],
      ...sources,
      ...headers,
    ]
    expect(needed.filter((file) => !files.includes(file))).toEqual([])
    expect(
      files.filter((file) => !/^(?:dist|native\/(?:core|plane|binding))\//.test(file) && !needed.includes(file)),
    ).toEqual([])
    expect(files.filter((file) => /\b(?:test|fuzz|bench)\/|[._]test\.|\.node$|\.o$|(?<!\.d)\.ts$/.test(file))).toEqual(
      [],
    )
  })

  it('has a command that the shell can run', () => {
    const path = join(root, manifest.bin.varve)
    expect(readFileSync(path, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
    expect(statSync(path).mode & 0o111).toBe(0o111)
  })
})

describe('the command', () => {
  it('says its version and its help', () => {
    expect(varve('--version')).toEqual({ code: 0, out: `${manifest.version}\n`, err: '' })
    for (const args of [['--help'], ['serve', '--help'], ['log', '--help'], ['log', 'verify', '--help']]) {
      const { code, out, err } = varve(...args)
      expect([code, err]).toEqual([0, ''])
      expect(out).toMatch(/^Usage: varve/)
    }
  })

  it.each([
    ['an unknown flag', ['--zork'], /unknown option '--zork'/],
    ['an unknown flag of a command', ['serve', '--zork'], /unknown option '--zork'/],
    ['an unknown command', ['zork'], /unknown command 'zork'/],
    ['an argument too many', ['serve', 'zork'], /too many arguments/],
    ['a missing argument', ['log', 'verify'], /missing required argument 'dir'/],
    ['an unknown config', ['serve', '--set', 'num.partition=3'], /did you mean num\.partitions\?/],
    ['a bad value', ['serve', '--memory', '--set', 'num.partitions=0'], /Value must be at least 1/],
    ['a setting without a value', ['serve', '--set', 'num.partitions'], /expected KEY=VALUE/],
    ['a listener that is none', ['serve', '--listen', 'here'], /Invalid listener here/],
    ['a config file that is not there', ['serve', '--config', '/nowhere'], /\/nowhere can't be read/],
  ])('ends with 2 for %s', (_what, args, told) => {
    const { code, err } = varve(...args)
    expect(err).toMatch(told)
    expect(code).toBe(2)
  })

  it('ends with 2, and shows what there is, without a command', () => {
    const { code, err } = varve()
    expect(err).toMatch(/^Usage: varve/)
    expect(code).toBe(2)
  })
})

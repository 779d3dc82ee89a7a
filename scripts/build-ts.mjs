// SPDX-License-Identifier: Apache-2.0
// Builds dist/: ES modules and types by tsc, one CommonJS file a public door by rolldown (shared chunks, so that an error class is
// the same class whichever door it came through), the same types once more where require() looks for them, and the command as one
// file: resolving and compiling 150 modules one by one would be half of a broker's start.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const dist = join(root, 'dist')
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

function run(...args) {
  const { status } = spawnSync(process.execPath, [tsc, ...args], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

rmSync(dist, { recursive: true, force: true })
run('-p', 'tsconfig.build.json')

// The doors lie as deep in dist/cjs as their sources in src: the addon is found by a path relative to the module that loads it.
const doors = { index: 'index.js', storage: 'storage/index.js', testing: 'testing/index.js' }
const external = (id) => !id.startsWith('.') && !id.startsWith('/')
const bundle = await rolldown({
  input: Object.fromEntries(Object.entries(doors).map(([name, path]) => [name, join(dist, path)])),
  platform: 'node',
  external,
})
await bundle.write({
  dir: join(dist, 'cjs'),
  format: 'cjs',
  entryFileNames: '[name].cjs',
  chunkFileNames: 'chunk-[hash].cjs',
  sourcemap: true,
})
await bundle.close()

// In its own place, as deep as its source.
const command = join(dist, 'cli', 'main.js')
const cli = await rolldown({ input: command, platform: 'node', external })
const { output } = await cli.generate({ format: 'esm', sourcemap: true })
await cli.close()
for (const file of output)
  writeFileSync(join(dist, 'cli', file.fileName), file.type === 'chunk' ? file.code : file.source)

mkdirSync(join(dist, 'cjs'), { recursive: true })
writeFileSync(join(dist, 'cjs', 'package.json'), '{ "type": "commonjs" }\n')
run(
  '-p',
  'tsconfig.build.json',
  '--outDir',
  'dist/cjs',
  '--module',
  'nodenext',
  '--emitDeclarationOnly',
  '--sourceMap',
  'false',
)
chmodSync(join(dist, 'cli', 'main.js'), 0o755)

// SPDX-License-Identifier: Apache-2.0
// A file system of a few MiB, mounted for a test and gone after it. Needs root.
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requireRoot } from './trace.ts'

const CHUNK = Buffer.alloc(1 << 16, 0x5a)
const BLOCK_BYTES = 4096

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (error !== undefined) throw new Error(`${command} is needed by npm run test:faults: ${error.message}`)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim()}`)
}

export class SmallFileSystem {
  readonly #base: string
  readonly dir: string
  #fillers = 0

  constructor(kind: 'ext4' | 'tmpfs', mebibytes: number) {
    requireRoot()
    this.#base = mkdtempSync(join(tmpdir(), 'varve-small-'))
    this.dir = join(this.#base, 'mounted')
    mkdirSync(this.dir)
    if (kind === 'tmpfs') {
      run('mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'varve-test', this.dir)
      return
    }
    const image = join(this.#base, 'image')
    writeFileSync(image, '')
    truncateSync(image, mebibytes * 2 ** 20)
    // Nothing kept back for root: full is full.
    run('mkfs.ext4', '-q', '-F', '-m', '0', image)
    run('mount', '-t', 'ext4', '-o', 'loop', image, this.dir)
  }

  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.dir)
    return bavail * bsize
  }

  /** Takes all space but `leave` bytes; 0: to the last block. */
  fill(leave: number): void {
    const fd = openSync(join(this.dir, `filler-${this.#fillers++}`), 'w')
    try {
      for (;;) {
        const free = this.freeBytes() - leave
        if (free < BLOCK_BYTES && leave > 0) return
        writeSync(fd, CHUNK, 0, Math.max(BLOCK_BYTES, Math.min(CHUNK.length, free)))
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    } finally {
      closeSync(fd)
    }
  }

  /** Gives back what fill() took. */
  free(): void {
    while (this.#fillers > 0) rmSync(join(this.dir, `filler-${--this.#fillers}`), { force: true })
  }

  /** Whoever used it has ended. */
  dispose(): void {
    run('umount', this.dir)
    rmSync(this.#base, { recursive: true, force: true })
  }
}

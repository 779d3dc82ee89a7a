// SPDX-License-Identifier: Apache-2.0
// A small ext4 in a file, mounted by a loop device, whose power can be cut. Needs root. dispose() leaves nothing mounted, whatever
// happened before.
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** EXT4_GOING_FLAGS: with LOGFLUSH the journal is committed before the stop, with NOLOGFLUSH nothing is. */
export const ShutdownFlag = { logFlush: 1, noLogFlush: 2 }

function run(command, ...args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (error !== undefined) throw new Error(`${command} is needed (root, e2fsprogs, mount): ${error.message}`)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim()}`)
}

export class LoopFileSystem {
  #base
  #image
  #kernel
  #answers = []
  #mounted = false
  /** Where it is mounted. */
  dir

  constructor(mebibytes) {
    if (process.getuid() !== 0) throw new Error('mounting a file system needs root')
    this.#base = mkdtempSync(join(tmpdir(), 'varve-loop-'))
    this.#image = join(this.#base, 'image')
    this.dir = join(this.#base, 'mounted')
    mkdirSync(this.dir)
    writeFileSync(this.#image, '')
    truncateSync(this.#image, mebibytes << 20)
    run('mkfs.ext4', '-q', '-F', '-m', '0', this.#image)
    this.#kernel = spawn('python3', [join(import.meta.dirname, 'kernel.py')], { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.#kernel.stdout }).on('line', (line) => this.#answers.shift()?.(line))
    this.mount()
  }

  mount() {
    run('mount', '-t', 'ext4', '-o', 'loop', this.#image, this.dir)
    this.#mounted = true
  }

  unmount() {
    run('umount', this.dir)
    this.#mounted = false
  }

  #ask(...words) {
    return new Promise((resolve) => {
      this.#answers.push(resolve)
      this.#kernel.stdin.write(`${words.join('\t')}\n`)
    })
  }

  /** From here on nothing reaches the disk; what was not on it is gone after unmount() and mount(). */
  async cutPower(flag) {
    const answer = await this.#ask('shutdown', this.dir, flag)
    if (answer !== 'ok') throw new Error(`cutting the power of ${this.dir} failed: ${answer}`)
  }

  /** Brings some pages of a file to the disk, as the kernel does when it likes to. A file that is gone is fine. */
  async writeBack(path, position, bytes) {
    await this.#ask('writeback', path, position, bytes)
  }

  dispose() {
    this.#kernel.kill('SIGKILL')
    if (this.#mounted) {
      try {
        this.unmount()
      } catch {
        // Somebody still has a file open: detached now, gone when they are.
        run('umount', '-l', this.dir)
        this.#mounted = false
      }
    }
    // The loop device went with the mount (autoclear).
    if (!readFileSync('/proc/mounts', 'utf8').includes(this.dir)) rmSync(this.#base, { recursive: true, force: true })
  }
}

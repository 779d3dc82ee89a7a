// SPDX-License-Identifier: Apache-2.0
// Flags of the fault runners, and numbers from a seed.

/** `--name VALUE` and `--name` (true) over `defaults`; numbers where the default is one. Ends the process with 2 when misused. */
export function readOptions(usage, defaults) {
  const options = { ...defaults }
  const args = process.argv.slice(2)
  for (let i = 0; i < args.length; i++) {
    const name = args[i].replace(/^--/, '')
    const value = options[name]
    if (!args[i].startsWith('--') || value === undefined) misused(usage, `unknown argument ${args[i]}`)
    if (typeof value === 'boolean') options[name] = true
    else {
      const given = args[++i]
      if (given === undefined) misused(usage, `--${name} needs a value`)
      options[name] = typeof value === 'number' ? Number(given) : given
      if (Number.isNaN(options[name])) misused(usage, `--${name} must be a number, got ${given}`)
    }
  }
  return options
}

function misused(usage, why) {
  process.stderr.write(`${why}\nusage: ${usage}\n`)
  process.exit(2)
}

/** Small, seeded, good enough to choose by (mulberry32). */
export class Random {
  #state

  constructor(seed) {
    this.#state = seed >>> 0
  }
  /** In [0, 1). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  /** An integer in [0, below). */
  below(below) {
    return Math.floor(this.next() * below)
  }
  /** True with a chance of `share`. */
  chance(share) {
    return this.next() < share
  }
}

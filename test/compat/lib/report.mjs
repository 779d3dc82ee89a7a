// SPDX-License-Identifier: Apache-2.0
// One line per case, and the count at the end.

export class Report {
  #passed = 0
  #failed = []
  #section = ''
  #sectionStart = 0
  #deadline

  /** Cases that would begin after the deadline fail without running: a broken broker must not take hours to be found. */
  constructor(minutes) {
    this.#deadline = Date.now() + minutes * 60_000
  }

  section(name) {
    this.#closeSection()
    this.#section = name
    this.#sectionStart = Date.now()
  }

  /** Runs one case. A failure is printed and counted, and the next case goes on. Returns whether it passed. */
  async case(name, body) {
    const title = `${this.#section}: ${name}`
    const start = Date.now()
    let problem = null
    try {
      if (start > this.#deadline) throw new Error('not run: the whole run has taken its time already (--minutes)')
      await body()
    } catch (error) {
      problem = error
    }
    const seconds = `(${((Date.now() - start) / 1000).toFixed(1)} s)`
    if (problem === null) {
      this.#passed++
      console.log(`ok    ${title} ${seconds}`)
    } else {
      this.#failed.push(title)
      console.log(`FAIL  ${title} ${seconds}\n      ${problem.message}`)
    }
    return problem === null
  }

  /** Prints the names of what failed and the count; returns the exit code. A run that ran nothing has failed. */
  finish() {
    this.#closeSection()
    for (const title of this.#failed) console.log(`failed: ${title}`)
    if (this.#passed + this.#failed.length === 0) console.log('no case ran')
    console.log(`${this.#passed} passed, ${this.#failed.length} failed`)
    return this.#passed > 0 && this.#failed.length === 0 ? 0 : 1
  }

  #closeSection() {
    if (this.#section !== '')
      console.log(`--    ${this.#section} took ${((Date.now() - this.#sectionStart) / 1000).toFixed(1)} s`)
    this.#section = ''
  }
}

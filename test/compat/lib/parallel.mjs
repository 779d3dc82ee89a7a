// SPDX-License-Identifier: Apache-2.0
// Some at a time: most of what a client program takes is waiting.

/** Runs `body` for every item, at most `limit` at once; begins in order. */
export async function inParallel(items, limit, body) {
  const waiting = [...items]
  const work = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await body(item)
  }
  await Promise.all(Array.from({ length: limit }, work))
}

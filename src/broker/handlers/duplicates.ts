// SPDX-License-Identifier: Apache-2.0
// Names that a request gives more than once: Kafka refuses those, and only those.
export function duplicates(names: readonly string[]): Set<string> {
  const seen = new Set<string>()
  const twice = new Set<string>()
  for (const name of names) {
    if (seen.has(name)) twice.add(name)
    seen.add(name)
  }
  return twice
}

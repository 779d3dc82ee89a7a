// SPDX-License-Identifier: Apache-2.0
// Java's properties format as far as config files use it: key=value or key: value, comments with # or !, a trailing backslash goes on
// in the next line. No ${...} indirection: a config value is never more than its text (CVE-2024-31141).

export function parseProperties(text: string): Record<string, string> {
  const properties: Record<string, string> = {}
  for (const line of text.replace(/\\\r?\n[ \t]*/g, '').split(/\r?\n/)) {
    const found = /^\s*([^#!=:\s][^=:\s]*)\s*(?:[=:]\s*|\s+|$)(.*?)\s*$/.exec(line)
    if (found) properties[found[1]!] = found[2]!
  }
  return properties
}

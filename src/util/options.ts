// SPDX-License-Identifier: Apache-2.0
// What the public doors check of an options object that TypeScript did not.

/** Throws TypeError for an option that is not one of `names`: a typing error must not pass for a default. */
export function checkOptionNames(where: string, options: object, names: readonly string[]): void {
  for (const name of Object.keys(options))
    if (!names.includes(name)) throw new TypeError(`${where} has no option ${name}; it has ${names.join(', ')}`)
}

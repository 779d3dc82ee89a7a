// SPDX-License-Identifier: Apache-2.0
// The one list of C++ sources: every .cc file of the folders named as arguments, one a line, relative to
// the project root. binding.gyp and CMakeLists.txt both ask here, so that a new file is in both builds.
const { readdirSync } = require('node:fs')
const { join } = require('node:path')

const root = join(__dirname, '..')
for (const folder of process.argv.slice(2))
  for (const name of readdirSync(join(root, 'native', folder)).sort())
    if (name.endsWith('.cc')) console.log(`native/${folder}/${name}`)

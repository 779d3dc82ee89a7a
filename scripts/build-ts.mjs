// placeholder until the package part lands
import { spawnSync } from 'node:child_process'
process.exit(spawnSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' }).status ?? 1)

// SPDX-License-Identifier: Apache-2.0
// `varve log`: looks at partition logs on disk without a broker.
import { Command } from 'commander'

export function logCommand(): Command {
  return new Command('log').description('Look at partition logs on disk')
}

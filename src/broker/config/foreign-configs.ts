// SPDX-License-Identifier: Apache-2.0
// Broker configs of Apache Kafka that the table does not have, so that the configuration of a Kafka broker can be handed to
// varve as it is: what secures a broker is refused, because ignoring it would leave it open; what steers machinery that varve does
// not have is taken and ignored. A name that is none of these is a typing error.

const SECURITY =
  /^(?:(?:ssl|sasl|delegation\.token|listener\.name|config\.providers)\..+|config\.providers|authorizer\.class\.name|principal\.builder\.class|security\.providers|client\.quota\.callback\.class|(?:create\.topic|alter\.config)\.policy\.class\.name)$/

const UNUSED =
  /^(?:(?:controller|metadata|group\.share|group\.streams|share|remote|errors\.deadletterqueue|kafka\.metrics|metrics?|alter\.log\.dirs\.replication\.quota|zookeeper)\.[a-z.]+|process\.roles|early\.start\.listeners|follower\.fetch\.last\.tiered\.offset\.enable|super\.users|allow\.everyone\.if\.no\.acl\.found|inter\.broker\.protocol\.version|log\.message\.format\.version|log\.message\.downconversion\.enable|log\.message\.timestamp\.difference\.max\.ms)$/

export type ForeignConfig = 'refused' | 'ignored'

/** What becomes of a broker config that is not in the table; undefined: Kafka has no such name. */
export function foreignConfig(name: string): ForeignConfig | undefined {
  if (SECURITY.test(name)) return 'refused'
  return UNUSED.test(name) ? 'ignored' : undefined
}

/** The name of `known` that `name` was most likely meant to be. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  let nearest: string | undefined
  let nearestDistance = Math.max(2, Math.floor(name.length / 6)) + 1
  for (const candidate of known) {
    const distance = editDistance(name, candidate)
    if (distance >= nearestDistance) continue
    nearest = candidate
    nearestDistance = distance
  }
  return nearest
}

/** Levenshtein's. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)))
    row = next
  }
  return row[to.length]!
}

// SPDX-License-Identifier: Apache-2.0
// Authorized operations (KIP-430) as bits, one per AclOperation code. Without an authorizer every operation that a
// resource has is allowed.
const AclOperation = {
  read: 3,
  write: 4,
  create: 5,
  delete: 6,
  alter: 7,
  describe: 8,
  clusterAction: 9,
  describeConfigs: 10,
  alterConfigs: 11,
  idempotentWrite: 12,
} as const

function bits(...operations: number[]): number {
  return operations.reduce((sum, operation) => sum | (1 << operation), 0)
}

const { read, write, create, alter, describe, clusterAction, describeConfigs, alterConfigs, idempotentWrite } =
  AclOperation

export const TOPIC_OPERATIONS = bits(
  read,
  write,
  create,
  describe,
  AclOperation.delete,
  alter,
  describeConfigs,
  alterConfigs,
)
export const GROUP_OPERATIONS = bits(read, describe, AclOperation.delete, describeConfigs, alterConfigs)
export const CLUSTER_OPERATIONS = bits(
  create,
  clusterAction,
  describeConfigs,
  alterConfigs,
  idempotentWrite,
  alter,
  describe,
)

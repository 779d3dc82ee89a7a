// SPDX-License-Identifier: Apache-2.0
// MetadataStore: where brokers keep what they must agree on: topics, ids, configs, producer id blocks. Never records, offsets or
// transaction state. Keys and values are text; every change happens in a transaction that compares revisions, and gets one
// revision of its own. Two implementations: local (a log of this broker's own) and, for a cluster, etcd.

export interface Entry {
  readonly key: string
  readonly value: string
  /** The store's revision at which this value was put. */
  readonly revision: number
}

/** Holds when the key's revision is this one; 0: the key doesn't exist. */
export interface Compare {
  readonly key: string
  readonly revision: number
}

export type Operation = { readonly put: string; readonly value: string } | { readonly delete: string }

export interface TxnResult {
  /** Whether every comparison held, and so `then` was done instead of `otherwise`. */
  readonly succeeded: boolean
  readonly revision: number
}

export interface Change {
  readonly key: string
  /** null: deleted. */
  readonly value: string | null
  readonly revision: number
}

export interface MetadataStore {
  /** Of the last change. */
  readonly revision: number
  get(key: string): Entry | undefined
  /** Entries whose key begins with `prefix`, in order of key. */
  list(prefix: string): Entry[]
  /**
   * Does `then` when every comparison holds, else `otherwise`; all of it or nothing. Resolved: it is durable and was seen by
   * every watcher of this process.
   */
  txn(compare: readonly Compare[], then: readonly Operation[], otherwise?: readonly Operation[]): Promise<TxnResult>
  /** Calls back with every change behind `fromRevision`, in order. */
  watch(fromRevision: number, listener: (change: Change) => void): { cancel(): void }
  close(): Promise<void>
}

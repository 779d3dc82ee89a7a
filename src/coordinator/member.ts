// SPDX-License-Identifier: Apache-2.0
// One member of a classic group (Kafka's ClassicGroupMember): what it told when joining, what it was assigned, and the
// requests of it that are parked. Changed by its group only.
import type { MemberMetadata } from './group-log.ts'
import type { JoinGroupRequest, JoinGroupResponse, SyncGroupResponse } from './types.ts'

export type JoinReply = (response: JoinGroupResponse) => void
export type SyncReply = (response: SyncGroupResponse) => void

export interface MemberProtocol {
  readonly name: string
  readonly metadata: Uint8Array
}

export const NOTHING = new Uint8Array(0)

export class Member {
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly protocolType: string
  rebalanceTimeoutMs: number
  sessionTimeoutMs: number
  /** In order of the member's preference, each name once. */
  protocols: readonly MemberProtocol[]
  assignment: Uint8Array = NOTHING
  /** True until its first rebalance ends: such a member has no session yet, only a time by which it must have joined. */
  isNew = false
  join: JoinReply | undefined
  sync: SyncReply | undefined

  constructor(identity: {
    readonly memberId: string
    readonly groupInstanceId: string | null
    readonly clientId: string
    readonly clientHost: string
    readonly protocolType: string
    readonly rebalanceTimeoutMs: number
    readonly sessionTimeoutMs: number
    readonly protocols: readonly MemberProtocol[]
  }) {
    this.memberId = identity.memberId
    this.groupInstanceId = identity.groupInstanceId
    this.clientId = identity.clientId
    this.clientHost = identity.clientHost
    this.protocolType = identity.protocolType
    this.rebalanceTimeoutMs = identity.rebalanceTimeoutMs
    this.sessionTimeoutMs = identity.sessionTimeoutMs
    this.protocols = identity.protocols
  }

  static fromLog(member: MemberMetadata, protocolType: string, protocolName: string | null): Member {
    const loaded = new Member({
      ...member,
      protocolType,
      protocols: [{ name: protocolName ?? '', metadata: member.subscription }],
    })
    loaded.assignment = member.assignment
    return loaded
  }

  /** The same static member under another id, perhaps from elsewhere (KIP-345). */
  renamed(memberId: string, from: { readonly clientId: string; readonly clientHost: string }): Member {
    const { groupInstanceId, protocolType, rebalanceTimeoutMs, sessionTimeoutMs, protocols, assignment } = this
    const { clientId, clientHost } = from
    const timeouts = { rebalanceTimeoutMs, sessionTimeoutMs }
    const member = new Member({ memberId, groupInstanceId, clientId, clientHost, protocolType, protocols, ...timeouts })
    member.assignment = assignment
    return member
  }

  get isStatic(): boolean {
    return this.groupInstanceId !== null
  }

  metadataFor(protocolName: string | null): Uint8Array {
    return this.protocols.find((protocol) => protocol.name === protocolName)?.metadata ?? NOTHING
  }

  /** True when joining with these would change nothing. */
  offers(protocols: readonly MemberProtocol[]): boolean {
    return (
      protocols.length === this.protocols.length &&
      protocols.every(({ name, metadata }, i) => {
        const own = this.protocols[i]!
        return name === own.name && Buffer.compare(metadata, own.metadata) === 0
      })
    )
  }

  /** The first of its protocols that all members support. */
  vote(candidates: ReadonlySet<string>): string {
    return this.protocols.find(({ name }) => candidates.has(name))!.name
  }

  toLog(protocolName: string | null): MemberMetadata {
    return {
      memberId: this.memberId,
      groupInstanceId: this.groupInstanceId,
      clientId: this.clientId,
      clientHost: this.clientHost,
      rebalanceTimeoutMs: this.rebalanceTimeoutMs,
      sessionTimeoutMs: this.sessionTimeoutMs,
      subscription: this.metadataFor(protocolName),
      assignment: this.assignment,
    }
  }
}

/** Each name once: the first counts. */
export function distinctProtocols(protocols: JoinGroupRequest['protocols']): MemberProtocol[] {
  const seen = new Set<string>()
  return protocols.filter(({ name }) => seen.size < seen.add(name).size)
}

// SPDX-License-Identifier: Apache-2.0
// The members of one classic group: by id, by instance id, and by what they support. Votes on the protocol. Knows
// nothing of generations, parked requests or time; those are the group's.
import { ErrorCode } from '../protocol/errors.ts'
import type { Member, MemberProtocol } from './member.ts'

export class Roster {
  /** In the order in which they came. */
  readonly #members = new Map<string, Member>()
  readonly #memberIdOfInstance = new Map<string, string>()
  /** How many members support a protocol. */
  readonly #supporters = new Map<string, number>()

  get size(): number {
    return this.#members.size
  }

  get(memberId: string | null): Member | undefined {
    return memberId === null ? undefined : this.#members.get(memberId)
  }

  idOfInstance(groupInstanceId: string): string | undefined {
    return this.#memberIdOfInstance.get(groupInstanceId)
  }

  first(): Member | undefined {
    return this.#members.values().next().value
  }

  [Symbol.iterator](): IterableIterator<Member> {
    return this.#members.values()
  }

  insert(member: Member): void {
    this.#members.set(member.memberId, member)
    if (member.groupInstanceId !== null) this.#memberIdOfInstance.set(member.groupInstanceId, member.memberId)
    this.#count(member, 1)
  }

  remove(member: Member): void {
    this.#members.delete(member.memberId)
    if (member.groupInstanceId !== null) this.#memberIdOfInstance.delete(member.groupInstanceId)
    this.#count(member, -1)
  }

  setProtocols(member: Member, protocols: readonly MemberProtocol[]): void {
    this.#count(member, -1)
    member.protocols = protocols
    this.#count(member, 1)
  }

  #count(member: Member, change: 1 | -1): void {
    for (const { name } of member.protocols) {
      const count = (this.#supporters.get(name) ?? 0) + change
      if (count === 0) this.#supporters.delete(name)
      else this.#supporters.set(name, count)
    }
  }

  /** FENCED_INSTANCE_ID when a static member has another id by now, UNKNOWN_MEMBER_ID when there is no such member. */
  error(memberId: string, groupInstanceId: string | null): number {
    if (groupInstanceId !== null) {
      const current = this.#memberIdOfInstance.get(groupInstanceId)
      if (current === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
      if (current !== memberId) return ErrorCode.FENCED_INSTANCE_ID
    }
    return this.#members.has(memberId) ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID
  }

  /** True when one of the protocols is supported by all. */
  sharesOneOf(protocols: readonly { readonly name: string }[]): boolean {
    return protocols.some(({ name }) => this.#supporters.get(name) === this.#members.size)
  }

  /** Of the protocols that all members support, the one that most of them prefer. */
  selectProtocol(): string {
    const candidates = new Set<string>()
    for (const [name, count] of this.#supporters) if (count === this.#members.size) candidates.add(name)
    const votes = new Map<string, number>()
    for (const member of this) {
      const name = member.vote(candidates)
      votes.set(name, (votes.get(name) ?? 0) + 1)
    }
    let [winner, most] = ['', 0]
    for (const [name, count] of votes) if (count > most) [winner, most] = [name, count]
    return winner
  }

  /** The longest that any member asks to be waited for. */
  rebalanceTimeoutMs(): number {
    let longest = 0
    for (const { rebalanceTimeoutMs } of this) longest = Math.max(longest, rebalanceTimeoutMs)
    return longest
  }
}

// SPDX-License-Identifier: Apache-2.0
// The one thing that the coordinator reads in the metadata of a consumer: the topics that it subscribes to (Kafka's
// ConsumerProtocolSubscription), so that offsets of topics which a group has left behind can expire (KIP-211). Version 0
// is the prefix of every other version.
import { Message } from '../protocol/message.ts'
import { ProtocolError } from '../protocol/protocol-error.ts'
import { MAX_REQUEST_ELEMENTS } from '../protocol/reader.ts'
import { array, topicName } from '../protocol/schema.ts'

export const CONSUMER_PROTOCOL_TYPE = 'consumer'

const subscription = new Message('ConsumerProtocolSubscription', {
  versions: { min: 0, max: 0 },
  flexible: Number.POSITIVE_INFINITY,
  maxElements: MAX_REQUEST_ELEMENTS,
  fields: { topics: array(topicName) },
})

/** Undefined when the bytes are not a subscription: `consumer` is a name that anybody may use. */
export function subscribedTopics(metadata: Uint8Array): readonly string[] | undefined {
  try {
    return subscription.decode(0, metadata, 2).topics
  } catch (error) {
    if (error instanceof ProtocolError) return undefined
    throw error
  }
}

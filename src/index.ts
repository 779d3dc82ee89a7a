// SPDX-License-Identifier: Apache-2.0
// The door `varve`.
export { KafkaError } from './errors.ts'
export { type RunningBroker, type StartBrokerOptions, startBroker } from './testing/start-broker.ts'

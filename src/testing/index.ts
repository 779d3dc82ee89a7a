// SPDX-License-Identifier: Apache-2.0
// The door `varve/testing`: the broker with a test's defaults.
export { type RunningBroker, type StartBrokerOptions, startBroker } from './start-broker.ts'

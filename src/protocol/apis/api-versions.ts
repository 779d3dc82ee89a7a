// SPDX-License-Identifier: Apache-2.0
// ApiVersions (18): which APIs and versions the broker answers, and its features. The first request of a connection.
//   Any version is answered: one that is not served with UNSUPPORTED_VERSION in the shape of version 0, its apiKeys
//   holding the range of key 18 (KIP-511). A client sees that from the first int16 of the body, the same in all versions.
//   The response has header 0 in all versions.
//   1 throttle time · 3 flexible, names of the client software, features (KIP-511, KIP-584)
//   4 features with a minimum of 0 may be listed (KAFKA-17011) · 5 cluster and node id that the client expects (KIP-1242)
import { api } from '../api.ts'
import { array, bool, int16, int32, offset, string } from '../schema.ts'

export const ApiVersions = api(18, 'ApiVersions', {
  versions: [0, 5],
  served: [0, 4],
  flexible: 3,
  request: {
    clientSoftwareName: string.in('3+').ignorable(),
    clientSoftwareVersion: string.in('3+').ignorable(),
    clusterId: string.in('5+').nullable().default(null).ignorable(),
    nodeId: int32.in('5+').default(-1).ignorable(),
  },
  response: {
    errorCode: int16,
    apiKeys: array({
      apiKey: int16,
      minVersion: int16,
      maxVersion: int16,
    }),
    throttleTimeMs: int32.in('1+').ignorable(),
    supportedFeatures: array({
      name: string,
      minVersion: int16,
      maxVersion: int16,
    })
      .in('3+')
      .tagged(0)
      .ignorable(),
    // In Kafka the offset in the metadata log up to which the features are known.
    finalizedFeaturesEpoch: offset.in('3+').tagged(1).default(-1).ignorable(),
    finalizedFeatures: array({
      name: string,
      maxVersionLevel: int16,
      minVersionLevel: int16,
    })
      .in('3+')
      .tagged(2)
      .ignorable(),
    zkMigrationReady: bool.in('3+').tagged(3).ignorable(),
  },
})

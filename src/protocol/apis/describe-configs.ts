// SPDX-License-Identifier: Apache-2.0
// DescribeConfigs (32): the configuration of topics (resource type 2), brokers (4) and others. Null keys ask for all.
//   1 synonyms (KIP-226) · 2 throttling after the answer (KIP-219) · 3 types and documentation (KIP-569) · 4 flexible
import { api } from '../api.ts'
import { array, bool, int8, int16, int32, string } from '../schema.ts'

export const DescribeConfigs = api(32, 'DescribeConfigs', {
  versions: [1, 4],
  flexible: 4,
  request: {
    resources: array({
      resourceType: int8,
      resourceName: string,
      configurationKeys: array(string).nullable(),
    }),
    includeSynonyms: bool.default(false),
    includeDocumentation: bool.in('3+').default(false),
  },
  response: {
    throttleTimeMs: int32.default(0),
    results: array({
      errorCode: int16,
      errorMessage: string.nullable(),
      resourceType: int8,
      resourceName: string,
      configs: array({
        name: string,
        value: string.nullable(),
        readOnly: bool,
        configSource: int8.default(-1),
        isSensitive: bool,
        synonyms: array({
          name: string,
          value: string.nullable(),
          source: int8,
        }),
        configType: int8.in('3+').default(0).ignorable(),
        documentation: string.in('3+').nullable().ignorable(),
      }),
    }),
  },
})

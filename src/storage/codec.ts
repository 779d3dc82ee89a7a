// SPDX-License-Identifier: Apache-2.0
// The native decoders as the Codec that record-batch.ts asks for. The engine and the broker never compress.
import type { Codec } from '../protocol/record-batch.ts'
import { native } from './native.ts'
import { StorageError } from './storage-error.ts'

/** Decodes any of Kafka's four codecs, within a limit. */
export function nativeCodec(compression: number): Codec {
  return {
    id: compression as Codec['id'],
    compress: () => {
      throw new StorageError('the storage engine does not compress', 'UNSUPPORTED')
    },
    decompress: (bytes, sizeMax) => native.decompress(compression, bytes, sizeMax),
  }
}

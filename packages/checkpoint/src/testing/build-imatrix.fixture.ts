// Importance matrices in both forms, for tests.
import { planGguf, type GgufTensorSpec } from '../gguf/encode-header.ts';
import type { GgufValue } from '../gguf/gguf-file.ts';

/** An entry of the older form. */
export interface LegacyEntry {
  readonly name: string;
  readonly calls: number;
  readonly values: readonly number[];
}

/** Bytes of a file of the older form; without `chunks` it ends behind the entries. */
export function legacyImatrix(entries: readonly LegacyEntry[], chunks?: number, text = 'a.txt'): Uint8Array {
  const int = (value: number): Buffer => {
    const buffer = Buffer.alloc(4);
    buffer.writeInt32LE(value);
    return buffer;
  };
  const pieces = [int(entries.length)];
  for (const { name, calls, values } of entries) {
    const bytes = Buffer.from(name);
    pieces.push(int(bytes.length), bytes, int(calls), int(values.length));
    pieces.push(Buffer.from(Float32Array.from(values).buffer));
  }
  if (chunks !== undefined) pieces.push(int(chunks), int(text.length), Buffer.from(text));
  return Uint8Array.from(Buffer.concat(pieces));
}

/** A tensor of the newer form with its values. */
export interface ImatrixTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly type?: 'f32' | 'i32';
}

/** Metadata that llama-imatrix writes. */
export const IMATRIX_METADATA: ReadonlyMap<string, GgufValue> = new Map<string, GgufValue>([
  ['general.type', { type: 'string', value: 'imatrix' }],
  ['imatrix.datasets', { type: 'array', items: { type: 'string', values: ['a.txt'] } }],
  ['imatrix.chunk_count', { type: 'uint32', value: 7 }],
  ['imatrix.chunk_size', { type: 'uint32', value: 512 }],
]);

/** Bytes of a file of the newer form. */
export function ggufImatrix(
  tensors: readonly ImatrixTensor[],
  metadata: ReadonlyMap<string, GgufValue> = IMATRIX_METADATA,
): Uint8Array {
  const specs = tensors.map(({ name, shape, type = 'f32' }): GgufTensorSpec => ({ name, shape, type }));
  const { header, tensors: places, byteLength } = planGguf(metadata, specs);
  const bytes = new Uint8Array(byteLength);
  bytes.set(header);
  places.forEach(({ offset }, i) => {
    bytes.set(new Uint8Array(Float32Array.from(tensors[i]!.values).buffer), offset);
  });
  return bytes;
}

// Reads the reference tensors of tests: safetensors headers and packed words, written plainly and apart from the code
// under test.
import { readFileSync } from 'node:fs';
import { shared } from '@pith-tooling/vitest/shared';

/** A tensor of a reference file. */
export interface GoldenTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** All tensors of a safetensors file under the reference data. */
export function readGolden(path: string): Map<string, GoldenTensor> {
  const file = readFileSync(shared(path));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + headerBytes).toString('utf8')) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, GoldenTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [start, end] = entry.data_offsets;
    const bytes = Uint8Array.from(file.subarray(8 + headerBytes + start, 8 + headerBytes + end));
    tensors.set(name, { dtype: entry.dtype, shape: entry.shape, bytes });
  }
  return tensors;
}

/** The little-endian f32 values of an F32 or BF16 tensor. */
export function valuesOf({ dtype, bytes }: GoldenTensor): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer);
  if (dtype !== 'BF16') throw new Error(`no values of ${dtype}`);
  const words = Uint32Array.from(new Uint16Array(bytes.buffer), (half) => half * 65536);
  return new Float32Array(words.buffer);
}

/** Signed codes of a little-endian bit stream per row, `count` to a row. */
export function unpackRows(words: Uint8Array, rows: number, count: number, bits: number): Int8Array {
  const rowBytes = words.length / rows;
  return Int8Array.from({ length: rows * count }, (_, i) => {
    const row = Math.floor(i / count);
    let code = 0;
    for (let bit = 0; bit < bits; bit += 1) {
      const at = (i % count) * bits + bit;
      code |= ((words[row * rowBytes + (at >> 3)]! >> (at & 7)) & 1) << bit;
    }
    return code - 2 ** (bits - 1);
  });
}

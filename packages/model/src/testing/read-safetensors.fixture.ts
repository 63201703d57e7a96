// A small reader of safetensors for tests: all tensors of the files as f32 or int32, no checks.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export interface PlainTensor {
  readonly shape: number[];
  readonly data: Float32Array | Int32Array;
}

export function readSafetensors(file: string): Map<string, PlainTensor> {
  const bytes = readFileSync(file);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, PlainTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [start, end] = entry.data_offsets;
    const raw = bytes.subarray(8 + headerLength + start, 8 + headerLength + end);
    const copy = raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength);
    let data: Float32Array | Int32Array;
    if (entry.dtype === 'F32') data = new Float32Array(copy);
    else if (entry.dtype === 'I64') data = Int32Array.from(new BigInt64Array(copy), Number);
    else if (entry.dtype === 'BF16') {
      const bits = Uint32Array.from(new Uint16Array(copy), (value) => value << 16);
      data = new Float32Array(bits.buffer);
    } else throw new Error(`fixture reader: dtype ${entry.dtype}`);
    tensors.set(name, { shape: entry.shape, data });
  }
  return tensors;
}

export function readCheckpointFolder(folder: string): Map<string, PlainTensor> {
  const files = readdirSync(folder).filter((name) => /^model.*\.safetensors$/.test(name));
  return new Map(files.flatMap((name) => [...readSafetensors(join(folder, name))]));
}

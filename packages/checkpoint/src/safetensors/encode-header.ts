// The first bytes of a safetensors file: the header's length as a little-endian u64, then the header as JSON without
// spaces, padded with spaces to a multiple of 8 so that the data is aligned.
import { formatName, type StoredDType } from './stored-dtype.ts';

/** One tensor of a header; offsets count from the end of the header. */
export interface HeaderEntry {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

/** Header length and header. `metadata` comes first when it is not empty, its keys in order. */
export function encodeHeader(entries: readonly HeaderEntry[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const members: string[] = [];
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) {
    const text = keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`);
    members.push(`"__metadata__":{${text.join(',')}}`);
  }
  for (const { name, dtype, shape, start, end } of entries) {
    const value = `{"dtype":"${formatName(dtype)}","shape":[${shape.join(',')}],"data_offsets":[${start},${end}]}`;
    members.push(`${JSON.stringify(name)}:${value}`);
  }
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  return head;
}

// Damage to bytes for fuzz tests: what broken disks and hostile authors do to a file.
import { type RandomStream } from '@pith/tensor-core';

const NUMBERS = [
  '-1',
  '0',
  '1',
  '7',
  '1e3',
  '0.5',
  '4294967296',
  '9007199254740991',
  '9007199254740992',
  '18446744073709551616',
];
const TEXTS = [
  '"',
  '\\',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  'null',
  'true',
  'NaN',
  '""',
  '\\ud800',
  '__proto__',
  '"F64"',
  '"I4"',
  '../',
  '\u0000',
  '\u{1f600}',
];
const LENGTHS = [
  0n,
  1n,
  7n,
  8n,
  100_000_000n,
  100_000_001n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** A copy with one change, or up to four. */
export function mutate(bytes: Uint8Array, random: RandomStream): Uint8Array {
  let result: Uint8Array = bytes.slice();
  for (let changes = 1 + random.below(2) * random.below(4); changes > 0; changes -= 1) result = change(result, random);
  return result;
}

function change(bytes: Uint8Array, random: RandomStream): Uint8Array {
  if (bytes.length === 0) return Uint8Array.of(random.below(256));
  const at = random.below(bytes.length);
  const length = 1 + random.below(Math.min(16, bytes.length - at));
  switch (random.below(10)) {
    case 0:
      bytes[at]! ^= 1 << random.below(8);
      return bytes;
    case 1:
      bytes[at] = random.below(256);
      return bytes;
    case 2:
      return splice(
        bytes,
        at,
        0,
        Uint8Array.from({ length }, () => random.below(256)),
      );
    case 3:
      return splice(bytes, at, length, new Uint8Array(0));
    case 4:
      return splice(bytes, random.below(bytes.length), 0, bytes.slice(at, at + length * 8));
    case 5:
      return bytes.slice(0, at);
    case 6:
      return replaceNumber(bytes, at, NUMBERS[random.below(NUMBERS.length)]!);
    case 7:
      return splice(bytes, at, random.below(2), new TextEncoder().encode(TEXTS[random.below(TEXTS.length)]));
    case 8: {
      if (bytes.length < 8) return bytes;
      const value =
        random.below(4) === 0 ? BigInt(random.below(bytes.length * 2)) : LENGTHS[random.below(LENGTHS.length)]!;
      new DataView(bytes.buffer as ArrayBuffer, bytes.byteOffset).setBigUint64(0, value, true);
      return bytes;
    }
    default:
      return splice(bytes, at, 0, new Uint8Array(1 + random.below(64)).fill(random.below(2) === 0 ? 0x20 : 0x5b));
  }
}

/** Replaces the first run of digits from a place on. */
function replaceNumber(bytes: Uint8Array, from: number, by: string): Uint8Array {
  const digit = (i: number): boolean => bytes[i]! >= 0x30 && bytes[i]! <= 0x39;
  let start = from;
  while (start < bytes.length && !digit(start)) start += 1;
  let end = start;
  while (end < bytes.length && digit(end)) end += 1;
  return splice(bytes, start, end - start, new TextEncoder().encode(by));
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const result = new Uint8Array(bytes.length - remove + insert.length);
  result.set(bytes.subarray(0, at));
  result.set(insert, at);
  result.set(bytes.subarray(at + remove), at + insert.length);
  return result;
}

import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { pack, packAlongRows, unpack, unpackAlongRows } from './pack.ts';
import { packReference, unpackReference } from './pack-reference.ts';
import { packedWords } from './packed-layout.ts';

const BITS = [2, 3, 4, 5, 6, 7, 8];

/** Codes that take every value of their bits, in no order. */
function codesOf(count: number, bits: number): Int8Array {
  return Int8Array.from({ length: count }, (_, i) => (((i * 2654435761) >>> 7) % 2 ** bits) - 2 ** (bits - 1));
}

describe('pack', () => {
  it('packs what was worked by hand', () => {
    // 4 bits, +8: 0, f, 8 from the low bits up.
    expect([...pack(Int8Array.of(-8, 7, 0), { rows: 1, columns: 3, bits: 4 })]).toEqual([0x8f0]);
    // 3 bits, +4: eleven codes of 7 are 33 one-bits, so the last crosses into the second word.
    expect([...pack(new Int8Array(11).fill(3), { rows: 1, columns: 11, bits: 3 })]).toEqual([-1, 1]);
    // Each row starts on a new word.
    expect([...pack(Int8Array.of(-2, 1), { rows: 2, columns: 1, bits: 2 })]).toEqual([0, 3]);
  });

  it.each(BITS)('%i bits: agrees with the reference and comes back, at awkward widths', (bits) => {
    for (const columns of [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 70, 128, 257, 1023]) {
      const shape = { rows: 3, columns, bits };
      const codes = codesOf(3 * columns, bits);
      const words = pack(codes, shape);
      expect(words, `${columns} columns`).toEqual(packReference(codes, shape));
      expect(unpack(words, shape), `${columns} columns`).toEqual(codes);
      const aligned = packReference(codes, shape, 'aligned');
      expect(unpack(aligned, shape, 'aligned')).toEqual(codes);
      expect(unpackReference(aligned, shape, 'aligned')).toEqual(codes);
    }
  });

  it.each(BITS)('%i bits: works through pieces when the scratch memory is too small', (bits) => {
    const long = { rows: 2, columns: 300_007, bits };
    const codes = codesOf(600_014, bits);
    const words = pack(codes, long);
    expect(Buffer.from(unpack(words, long).buffer).equals(Buffer.from(codes.buffer))).toBe(true);
    const many = { rows: 4000, columns: 150, bits };
    const manyCodes = codes.subarray(1, 600_001);
    const back = unpack(pack(manyCodes, many), many);
    expect(Buffer.from(back.buffer).equals(Buffer.from(manyCodes.slice().buffer))).toBe(true);
    // The long row is one stream: its end is what the reference makes of the same codes moved to the front.
    const tailStart = 300_000 - (300_000 % 32);
    const tail = codes.slice(tailStart, 300_007);
    const expected = packReference(tail, { rows: 1, columns: tail.length, bits });
    expect(words.slice(packedWords(bits, tailStart, 'stream'), words.length / 2)).toEqual(expected);
  });

  it('packs zero rows and zero columns to nothing', () => {
    expect(pack(new Int8Array(0), { rows: 0, columns: 5, bits: 4 })).toHaveLength(0);
    expect(unpack(new Int32Array(0), { rows: 5, columns: 0, bits: 4 })).toHaveLength(0);
  });

  it.each([2, 3, 4, 5, 6, 7])('%i bits: refuses a code that does not fit, wherever it lies', (bits) => {
    const half = 2 ** (bits - 1);
    for (const position of [0, 15, 16, 40, 46]) {
      for (const wrong of [half, -half - 1, 127, -128]) {
        if (wrong >= -half && wrong < half) continue;
        const codes = new Int8Array(47);
        codes[position] = wrong;
        const refused = expect.objectContaining({ code: 'CODE_OUT_OF_RANGE' });
        expect(() => pack(codes, { rows: 1, columns: 47, bits })).toThrow(refused);
        expect(() => packReference(codes, { rows: 1, columns: 47, bits })).toThrow(refused);
      }
    }
  });

  it('refuses lengths that are not those of the shape, and unknown bits', () => {
    expect(() => pack(new Int8Array(5), { rows: 2, columns: 3, bits: 4 })).toThrow('the shape takes 6 codes, got 5');
    expect(() => unpack(new Int32Array(3), { rows: 2, columns: 3, bits: 4 })).toThrow('the shape takes 2 words, got 3');
    expect(() => pack(new Int8Array(6), { rows: 2, columns: 3, bits: 9 })).toThrow('bits must be an integer');
  });
});

describe('packAlongRows', () => {
  it('is packing of the transpose', () => {
    const codes = codesOf(37 * 3, 3);
    const words = packAlongRows(codes, { rows: 37, columns: 3, bits: 3 });
    expect(words).toHaveLength(4 * 3);
    expect(unpackAlongRows(words, { rows: 37, columns: 3, bits: 3 })).toEqual(codes);
    const firstColumn = Int8Array.from({ length: 37 }, (_, row) => codes[row * 3]!);
    const firstWords = Int32Array.from({ length: 4 }, (_, word) => words[word * 3]!);
    expect(firstWords).toEqual(packReference(firstColumn, { rows: 1, columns: 37, bits: 3 }));
  });
});

// golden/compressed-tensors/packing: compressed-tensors 0.19 (stream) and 0.14 (aligned) `pack_to_int32`.
describe.skipIf(!hasShared)('words written by compressed-tensors', () => {
  const file = hasShared ? readFileSync(shared('golden/compressed-tensors/packing/tensors.safetensors')) : Buffer.of();
  const headerLength = hasShared ? Number(file.readBigUInt64LE(0)) : 0;
  const header = (hasShared ? JSON.parse(file.toString('utf8', 8, 8 + headerLength)) : {}) as Record<
    string,
    { shape: [number, number]; data_offsets: [number, number] }
  >;
  const tensor = (name: string) => {
    const {
      shape,
      data_offsets: [start, end],
    } = header[name]!;
    return { shape, bytes: Uint8Array.from(file.subarray(8 + headerLength + start, 8 + headerLength + end)) };
  };
  const names = Object.keys(header).filter((name) => /^packed[2-8]/.test(name));

  it('are all looked at', () => expect(names).toHaveLength(16));

  it.each(names)('%s', (name) => {
    const [, digit, alongRows, version] = /^packed(\d)(_dim0)?\.v0_(\d+)$/.exec(name)!;
    const bits = Number(digit);
    const {
      shape: [rows, columns],
      bytes,
    } = tensor(`codes${bits}`);
    const codes = new Int8Array(bytes.buffer);
    const golden = new Int32Array(tensor(name).bytes.buffer);
    const layout = version === '14' ? 'aligned' : 'stream';
    const shape = { rows, columns, bits };
    if (alongRows) {
      expect(unpackAlongRows(golden, shape, layout)).toEqual(codes);
      if (layout === 'stream') expect(packAlongRows(codes, shape)).toEqual(golden);
    } else {
      expect(unpack(golden, shape, layout)).toEqual(codes);
      expect(packReference(codes, shape, layout)).toEqual(golden);
      if (layout === 'stream') expect(pack(codes, shape)).toEqual(golden);
    }
  });
});

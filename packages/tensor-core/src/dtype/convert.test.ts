import { describe, expect, it } from 'vitest';
import { byteLengthOf } from './byte-length.ts';
import { decodeFloat, fromF32Reference, roundHalfToEven, toF32Reference, type Overflow } from './convert-reference.ts';
import { fromF32, toF32 } from './convert.ts';
import { DTYPES, dtypeInfo } from './dtype-info.ts';

const BYTE_DTYPES = DTYPES.filter((dtype) => dtypeInfo(dtype).family !== 'packed');
const SMALL_FLOATS = ['f16', 'bf16', 'f8_e4m3', 'f8_e5m2'] as const;

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

function f32FromBits(bits: ArrayLike<number>): Float32Array {
  return new Float32Array(Uint32Array.from(bits).buffer);
}

/** First index at which two arrays differ, with both values; undefined when equal. */
function firstDifference(a: ArrayLike<number>, b: ArrayLike<number>): string | undefined {
  if (a.length !== b.length) return `lengths ${a.length} and ${b.length}`;
  for (let i = 0; i < a.length; i++)
    if (a[i] !== b[i]) return `at ${i}: ${a[i]!.toString(16)} and ${b[i]!.toString(16)}`;
  return undefined;
}

/** 32-bit patterns of a xorshift generator: every class of f32 among them. */
function randomPatterns(count: number, seed: number): Uint32Array {
  const result = new Uint32Array(count);
  let x = seed;
  for (let i = 0; i < count; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    result[i] = x;
  }
  return result;
}

/** Every code, the midpoints between neighbours and the f32 next to each of them, both signs; and the specials of f32. */
function boundaryPatterns(dtype: (typeof SMALL_FLOATS)[number]): Uint32Array {
  const width = dtypeInfo(dtype).bits;
  const patterns: number[] = [0, 1, 2, 0x7fffff, 0x800000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff];
  for (let code = 0; code < 2 ** (width - 1); code++) {
    const low = decodeFloat(dtype, code);
    const high = decodeFloat(dtype, code + 1);
    const middle = code + 1 < 2 ** (width - 1) && Number.isFinite(high) ? (low + high) / 2 : low * (1 + 2 ** -9);
    for (const value of [low, middle]) {
      if (!Number.isFinite(value)) continue;
      const [bits] = bitsOf(new Float32Array([value]));
      patterns.push(bits!, bits! + 1, Math.max(0, bits! - 1));
    }
  }
  // Around the end of the range: the largest value, half a step above it, and one f32 either side.
  const { max, epsilon } = dtypeInfo(dtype);
  const halfStep = (epsilon / 2) * 2 ** Math.floor(Math.log2(max));
  const [edge] = bitsOf(new Float32Array([max + halfStep]));
  patterns.push(edge! - 1, edge!, edge! + 1);
  return Uint32Array.from(patterns.flatMap((bits) => [bits, bits + 0x80000000]));
}

describe('toF32', () => {
  it.each(['f16', 'bf16', 'i16', 'u16'] as const)('%s agrees with the reference on all 65,536 patterns', (dtype) => {
    const bytes = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
    expect(firstDifference(bitsOf(toF32(dtype, bytes)), bitsOf(toF32Reference(dtype, bytes)))).toBeUndefined();
  });

  it.each(['f8_e4m3', 'f8_e5m2', 'i8', 'u8', 'bool'] as const)('%s agrees on all 256 patterns', (dtype) => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(firstDifference(bitsOf(toF32(dtype, bytes)), bitsOf(toF32Reference(dtype, bytes)))).toBeUndefined();
  });

  it.each(['f64', 'i64', 'u64', 'i32', 'u32', 'f32'] as const)('%s agrees on random patterns', (dtype) => {
    const patterns = randomPatterns(200_000, 77);
    // Ties and their neighbours of the rounding to f32, in 32 and 64 bits, and the ends of the ranges.
    const special = new BigUint64Array([
      2n ** 24n + 1n, 2n ** 24n + 3n, 2n ** 53n + 2n ** 29n, 2n ** 53n + 2n ** 29n + 1n, 2n ** 62n + 2n ** 38n + 1n,
      2n ** 62n + 2n ** 38n, 2n ** 63n, 2n ** 63n - 1n, 2n ** 64n - 1n, 2n ** 64n - 2n ** 39n - 1n, 0n, 1n,
      0x7ff0000000000000n, 0xfff0000000000000n, 0x7ff8000000000001n, 0xfff0000000000001n, 0x36a0000000000000n,
      0x36a0000000000001n, 0x3690000000000000n, 0x3690000000000001n, 0x47efffffe0000000n, 0x47effffff0000000n,
      0x47efffffefffffffn, 0x3810000000000000n, 0x380fffffffffffffn, 0x000fffffffffffffn, 0x8000000000000000n,
    ]); // prettier-ignore
    const bytes = new Uint8Array([...new Uint8Array(special.buffer), ...new Uint8Array(patterns.buffer)]);
    expect(firstDifference(bitsOf(toF32(dtype, bytes)), bitsOf(toF32Reference(dtype, bytes)))).toBeUndefined();
  });

  it('knows values worked by hand', () => {
    expect([...toF32('f8_e4m3', Uint8Array.of(0x7e, 0xfe, 0x7f, 0x01, 0x08, 0x38, 0x80))]).toEqual([
      448, -448, NaN, 2 ** -9, 2 ** -6, 1, -0,
    ]); // prettier-ignore
    expect([...toF32('f8_e5m2', Uint8Array.of(0x7b, 0x7c, 0x7d, 0x01, 0x3c))]).toEqual([
      57344, Infinity, NaN, 2 ** -16, 1,
    ]); // prettier-ignore
    expect([...toF32('i64', new Uint8Array(new BigInt64Array([-(2n ** 63n), 16777217n]).buffer))]).toEqual([
      -(2 ** 63), 16777216,
    ]); // prettier-ignore
  });

  it.each([0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 1023])('handles %i values of every dtype', (count) => {
    for (const dtype of BYTE_DTYPES) {
      const patterns = new Uint8Array(randomPatterns(count * 2 + 2, 5).buffer);
      // Off by one byte: the source need not be aligned.
      const bytes = patterns.subarray(1, 1 + byteLengthOf(dtype, count));
      const copy = Uint8Array.from(bytes);
      expect(firstDifference(bitsOf(toF32(dtype, bytes)), bitsOf(toF32Reference(dtype, copy))), dtype).toBeUndefined();
      const values = f32FromBits(randomPatterns(count, 9));
      expect(firstDifference(fromF32(dtype, values), fromF32Reference(dtype, values)), dtype).toBeUndefined();
    }
  });

  it('works piece by piece on arrays larger than the scratch memory', () => {
    const patterns = new Uint16Array(randomPatterns(300_001, 3));
    const bytes = new Uint8Array(patterns.buffer);
    expect(firstDifference(bitsOf(toF32('bf16', bytes)), patterns.map((bits) => bits).reduce((all, bits, i) => {
      all[i] = bits * 65536;
      return all;
    }, new Uint32Array(patterns.length)))).toBeUndefined(); // prettier-ignore
  });

  it('refuses bytes that are not whole values, a target of another length, and packed codes', () => {
    expect(() => toF32('f16', new Uint8Array(3))).toThrow(expect.objectContaining({ code: 'CONVERT_LENGTH' }));
    expect(() => toF32('f16', new Uint8Array(4), new Float32Array(3))).toThrow('toF32: 3 values of f16 take 6 bytes');
    expect(() => fromF32('f16', new Float32Array(2), { into: new Uint8Array(3) })).toThrow('fromF32: 2 values of f16');
    expect(() => toF32('int4', new Uint8Array(4))).toThrow(expect.objectContaining({ code: 'DTYPE_PACKED' }));
  });
});

describe('fromF32', () => {
  const overflows: Overflow[] = ['special', 'saturate'];
  const cases = SMALL_FLOATS.flatMap((dtype) => overflows.map((overflow) => [dtype, overflow] as const));

  it.each(cases)('%s (%s) agrees with the reference on every boundary', (dtype, overflow) => {
    const values = f32FromBits(boundaryPatterns(dtype));
    const fast = fromF32(dtype, values, { overflow });
    expect(firstDifference(fast, fromF32Reference(dtype, values, overflow))).toBeUndefined();
  });

  it.each(cases)('%s (%s) agrees with the reference on random patterns of f32', (dtype, overflow) => {
    const values = f32FromBits(randomPatterns(overflow === 'special' ? 1_000_000 : 200_000, 41));
    const fast = fromF32(dtype, values, { overflow });
    expect(firstDifference(fast, fromF32Reference(dtype, values, overflow))).toBeUndefined();
  });

  it.each(SMALL_FLOATS)('%s comes back from f32 unchanged, but for the payload of NaN', (dtype) => {
    const width = dtypeInfo(dtype).bits;
    const codes = Array.from({ length: 2 ** width }, (_, code) => code);
    const bytes = new Uint8Array(width === 8 ? Uint8Array.from(codes) : new Uint8Array(Uint16Array.from(codes).buffer));
    const back = fromF32(dtype, toF32(dtype, bytes));
    const backCodes = width === 8 ? back : new Uint16Array(back.buffer);
    for (const code of codes) {
      if (!Number.isNaN(decodeFloat(dtype, code))) expect(backCodes[code]).toBe(code);
      else expect(decodeFloat(dtype, backCodes[code]!)).toBeNaN();
    }
  });

  it.each(['i8', 'u8', 'i16', 'u16', 'i32', 'u32', 'i64', 'u64', 'bool', 'f64', 'f32'] as const)(
    '%s agrees with the reference on random patterns and the ends of its range',
    (dtype) => {
      const { min, max } = dtypeInfo(dtype);
      const ends = [min, max].flatMap((end) => [end, end - 1, end - 0.5, end + 0.5, end + 1, end * 1.001]);
      const ties = Array.from({ length: 64 }, (_, i) => i / 4 - 8);
      const values = Float32Array.from([
        ...ends,
        ...ties,
        Infinity,
        -Infinity,
        NaN,
        -0,
        2 ** 31,
        2 ** 32,
        2 ** 63,
        2 ** 64,
      ]);
      const near = f32FromBits(Array.from(bitsOf(values)).flatMap((bits) => [bits, bits + 1, Math.max(bits - 1, 0)]));
      for (const sample of [near, f32FromBits(randomPatterns(100_000, 11))]) {
        expect(firstDifference(fromF32(dtype, sample), fromF32Reference(dtype, sample))).toBeUndefined();
      }
    },
  );

  it('states its overflow: special or saturating', () => {
    const values = new Float32Array([448, 464, 464.1, 480, 1e9, Infinity, -Infinity, NaN]);
    expect([...toF32('f8_e4m3', fromF32('f8_e4m3', values))]).toEqual([448, 448, NaN, NaN, NaN, NaN, NaN, NaN]);
    expect([...toF32('f8_e4m3', fromF32('f8_e4m3', values, { overflow: 'saturate' }))]).toEqual([
      448, 448, 448, 448, 448, 448, -448, NaN,
    ]); // prettier-ignore
    expect([...toF32('f8_e5m2', fromF32('f8_e5m2', new Float32Array([61439, 61440])))]).toEqual([57344, Infinity]);
    expect([...toF32('f16', fromF32('f16', new Float32Array([65519.9, 65520])))]).toEqual([65504, Infinity]);
  });

  it('rounds integers half to even', () => {
    expect([...new Int8Array(fromF32('i8', new Float32Array([0.5, 1.5, 2.5, -0.5, -1.5, 127.5, 200, -200, NaN])))]).toEqual([
      0, 2, 2, 0, -2, 127, 127, -128, 0,
    ]); // prettier-ignore
  });
});

describe('roundHalfToEven', () => {
  it('takes the even neighbour of a tie and the nearest otherwise', () => {
    expect([-2.5, -1.5, -0.51, -0.5, 0.49, 0.5, 1.5, 2.5, 2.51].map(roundHalfToEven)).toEqual([
      -2, -2, -1, 0, 0, 0, 2, 2, 3,
    ]); // prettier-ignore
  });
});

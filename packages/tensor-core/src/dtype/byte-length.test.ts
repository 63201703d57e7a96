import { describe, expect, it } from 'vitest';
import { byteLengthOf, packedByteLength, packedWordsPerRow, requireBits } from './byte-length.ts';

describe('byteLengthOf', () => {
  it('is count times the size', () => {
    expect([byteLengthOf('bf16', 7), byteLengthOf('f64', 0), byteLengthOf('bool', 3)]).toEqual([14, 0, 3]);
    expect(byteLengthOf('f64', 2 ** 50 - 1)).toBe(2 ** 53 - 8);
  });

  it('refuses what a number cannot hold, and what is not a count', () => {
    expect(() => byteLengthOf('f64', 2 ** 50)).toThrow(expect.objectContaining({ code: 'BYTE_LENGTH_OVERFLOW' }));
    for (const count of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
      expect(() => byteLengthOf('u8', count)).toThrow(expect.objectContaining({ code: 'COUNT_INVALID' }));
    }
    expect(() => byteLengthOf('int4', 8)).toThrow(expect.objectContaining({ code: 'DTYPE_PACKED' }));
  });
});

describe('packedByteLength', () => {
  it('fills every row up to a 32-bit word', () => {
    expect(packedByteLength(4, 3, 8)).toBe(12);
    expect(packedByteLength(4, 3, 9)).toBe(24);
    expect(packedByteLength(3, 2, 11)).toBe(16); // 33 bits
    expect(packedByteLength(7, 1, 1)).toBe(4);
    expect(packedByteLength(5, 0, 100)).toBe(0);
    expect(packedByteLength(5, 100, 0)).toBe(0);
    expect(packedWordsPerRow(3, 32)).toBe(3);
  });

  it('refuses what cannot be', () => {
    expect(() => packedByteLength(4, 2 ** 40, 2 ** 40)).toThrow(
      expect.objectContaining({ code: 'BYTE_LENGTH_OVERFLOW' }),
    );
    expect(() => packedByteLength(9, 1, 1)).toThrow(expect.objectContaining({ code: 'BITS_UNSUPPORTED' }));
    expect(() => packedByteLength(4, -1, 1)).toThrow(expect.objectContaining({ code: 'COUNT_INVALID' }));
    expect(() => requireBits(4.5)).toThrow('bits must be an integer from 2 to 8, got 4.5');
  });
});

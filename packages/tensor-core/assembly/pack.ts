// Codes of 2 to 8 bits, one signed byte each, to and from the little-endian bit stream of each row (compressed-tensors
// `weight_packed`). The specification is src/packing/pack-reference.ts. Eight codes fill exactly `bits` bytes, so eight
// bytes are squeezed together in a 64-bit word, pair by pair, and two such words in a vector.
//
// A row of the stream takes a whole number of 32-bit words; bits after the last code are 0.

const BYTES: u64 = 0x0101010101010101;
const EVEN_BYTES: u64 = 0x00ff00ff00ff00ff;
const EVEN_SHORTS: u64 = 0x0000ffff0000ffff;
const EVEN_WORDS: u64 = 0x00000000ffffffff;

/**
 * Packs `rows` rows of `columns` codes (i8, from -2^(bits-1) to 2^(bits-1) - 1) at `source`; each is stored as code +
 * 2^(bits-1). Returns 0, or anything else when a code was out of range.
 */
export function packCodes(source: usize, target: usize, rows: i32, columns: i32, bits: i32): i32 {
  const rowBytes = <usize>(((<i64>columns * bits + 31) >> 5) << 2);
  let wrong: u64 = 0;
  for (let row = 0; row < rows; row++) {
    wrong |= packRow(source, target, columns, bits, rowBytes);
    source += columns;
    target += rowBytes;
  }
  return i32(wrong != 0);
}

function packRow(source: usize, target: usize, columns: i32, bits: i32, rowBytes: usize): u64 {
  const rowEnd = target + rowBytes;
  const offset = BYTES << (bits - 1);
  const mask = BYTES * ((1 << bits) - 1);
  // A code in range repeats its sign in all bits from bits-1 up: each must equal the bit below it.
  const signs = BYTES * (0x100 - (1 << bits));
  let wrong: u64 = 0;
  let i = 0;

  let wrongLanes = i64x2.splat(0);
  const offsets = i64x2.splat(offset);
  const masks = i64x2.splat(mask);
  for (; i <= columns - 16 && target + bits + 8 <= rowEnd; i += 16) {
    const codes = v128.load(source + <usize>i);
    wrongLanes = v128.or(wrongLanes, v128.xor(codes, i64x2.shl(codes, 1)));
    let x = v128.and(v128.xor(codes, offsets), masks);
    x = mergeLanes(x, i64x2.splat(EVEN_BYTES), 8, bits);
    x = mergeLanes(x, i64x2.splat(EVEN_SHORTS), 16, 2 * bits);
    x = mergeLanes(x, i64x2.splat(EVEN_WORDS), 32, 4 * bits);
    v128.store_lane<u64>(target, x, 0); // the bytes past `bits` are written over next
    v128.store_lane<u64>(target + bits, x, 1);
    target += 2 * bits;
  }
  wrong |= i64x2.extract_lane(wrongLanes, 0) | i64x2.extract_lane(wrongLanes, 1);

  for (; i < columns; i += 8) {
    const count = min(columns - i, 8);
    let codes: u64 = 0;
    for (let k = 0; k < count; k++) codes |= (<u64>load<u8>(source + <usize>(i + k))) << (k << 3);
    wrong |= codes ^ (codes << 1);
    let x = (codes ^ offset) & mask;
    if (count < 8) x &= (<u64>1 << (count << 3)) - 1;
    x = merge(x, EVEN_BYTES, 8, bits);
    x = merge(x, EVEN_SHORTS, 16, 2 * bits);
    x = merge(x, EVEN_WORDS, 32, 4 * bits);
    for (let k = 0; k < bits && target < rowEnd; k++) store<u8>(target++, <u8>(x >> (k << 3)));
  }
  while (target < rowEnd) store<u8>(target++, 0);
  return wrong & signs;
}

/** Unpacks what {@link packCodes} packs: `rows` rows of `columns` codes as i8 at `target`. */
export function unpackCodes(source: usize, target: usize, rows: i32, columns: i32, bits: i32): void {
  const rowBytes = <usize>(((<i64>columns * bits + 31) >> 5) << 2);
  for (let row = 0; row < rows; row++) {
    unpackRow(source, target, columns, bits, rowBytes);
    source += rowBytes;
    target += columns;
  }
}

function unpackRow(source: usize, target: usize, columns: i32, bits: i32, rowBytes: usize): void {
  const rowEnd = source + rowBytes;
  const group: u64 = bits == 8 ? ~(<u64>0) : (<u64>1 << (8 * bits)) - 1;
  const half: u64 = (<u64>1 << (4 * bits)) - 1;
  const pairs: u64 = ((<u64>1 << (2 * bits)) - 1) * 0x0000000100000001;
  const singles: u64 = ((<u64>1 << bits) - 1) * 0x0001000100010001;
  const range: i32 = 1 << bits;
  const offset = u8(range >> 1);
  let i = 0;

  const groups = i64x2.splat(group);
  const halves = i64x2.splat(half);
  const pairLanes = i64x2.splat(pairs);
  const singleLanes = i64x2.splat(singles);
  const offsets = i8x16.splat(offset);
  for (; i <= columns - 16 && source + bits + 8 <= rowEnd; i += 16) {
    let x = v128.and(v128.load64_lane(source + bits, v128.load64_zero(source), 1), groups);
    x = splitLanes(x, halves, 32, 4 * bits);
    x = splitLanes(x, pairLanes, 16, 2 * bits);
    x = splitLanes(x, singleLanes, 8, bits);
    v128.store(target + <usize>i, i8x16.sub(x, offsets));
    source += 2 * bits;
  }

  for (; i < columns; i += 8) {
    const count = min(columns - i, 8);
    let x: u64 = 0;
    for (let k = 0; k < bits && source < rowEnd; k++) x |= (<u64>load<u8>(source++)) << (k << 3);
    x = split(x, half, 32, 4 * bits);
    x = split(x, pairs, 16, 2 * bits);
    x = split(x, singles, 8, bits);
    for (let k = 0; k < count; k++) store<u8>(target + <usize>(i + k), <u8>(x >> (k << 3)) - offset);
  }
}

/**
 * Unpacks the older layout, floor(32 / bits) codes to a 32-bit word, none across words: `rows` rows of `columns` codes
 * as i8 at `target`.
 */
export function unpackAlignedCodes(source: usize, target: usize, rows: i32, columns: i32, bits: i32): void {
  const perWord = 32 / bits;
  const mask = <u32>((1 << bits) - 1);
  const range: i32 = 1 << bits;
  const offset = u8(range >> 1);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i += perWord) {
      let word = load<u32>(source);
      source += 4;
      const count = min(columns - i, perWord);
      for (let k = 0; k < count; k++) {
        store<u8>(target++, <u8>(word & mask) - offset);
        word >>= bits;
      }
    }
  }
}

/** Moves the upper field of each pair of fields of `width` bits down to `used`, next to the lower one. */
// @ts-ignore: decorator
@inline
function merge(x: u64, even: u64, width: i32, used: i32): u64 {
  return (x & even) | (((x >> width) & even) << used);
}

// @ts-ignore: decorator
@inline
function mergeLanes(x: v128, even: v128, width: i32, used: i32): v128 {
  return v128.or(v128.and(x, even), i64x2.shl(v128.and(i64x2.shr_u(x, width), even), used));
}

/** The reverse of {@link merge}; `low` has the bits of the lower fields. */
// @ts-ignore: decorator
@inline
function split(x: u64, low: u64, width: i32, used: i32): u64 {
  return (x & low) | (((x >> used) & low) << width);
}

// @ts-ignore: decorator
@inline
function splitLanes(x: v128, low: v128, width: i32, used: i32): v128 {
  return v128.or(v128.and(x, low), i64x2.shl(v128.and(i64x2.shr_u(x, used), low), width));
}

// The arithmetic of the small float formats on four lanes: sign, exponent and mantissa fields as integers. `width` is
// the bits of a code, `mantissa` its stored mantissa bits, `bias` its exponent bias, `largest` the code of its largest
// finite value; all are constants at every call, so that the compiler folds them.

/** Codes in the low `width` bits of each lane to f32. A NaN keeps its sign, its payload moves to the top bits. */
// @ts-ignore: decorator
@inline
export function decode(codes: v128, width: i32, mantissa: i32, bias: i32, largest: i32): v128 {
  const shift = 23 - mantissa;
  const magnitude = v128.and(codes, i32x4.splat((1 << (width - 1)) - 1));
  const moved = i32x4.shl(magnitude, shift);
  const sign = i32x4.shl(v128.and(codes, i32x4.splat(1 << (width - 1))), 32 - width);
  const normal = i32x4.add(moved, i32x4.splat((127 - bias) << 23));
  const unit = reinterpret<f32>((128 - bias - mantissa) << 23); // the smallest subnormal: 2^(1 - bias - mantissa)
  const subnormal = f32x4.mul(f32x4.convert_i32x4_s(magnitude), f32x4.splat(unit));
  const special = v128.or(moved, i32x4.splat(0x7f800000));
  let bits = v128.bitselect(subnormal, normal, i32x4.lt_s(magnitude, i32x4.splat(1 << mantissa)));
  bits = v128.bitselect(special, bits, i32x4.gt_s(magnitude, i32x4.splat(largest)));
  return v128.or(bits, sign);
}

/**
 * f32 to codes in the low `width` bits of each lane, rounded half to even. Above the largest finite value comes
 * `overflow`: the largest code, or the one after it, which is infinity (e4m3: NaN). NaN becomes `nan` with its sign.
 */
// @ts-ignore: decorator
@inline
export function encode(
  values: v128,
  width: i32,
  mantissa: i32,
  bias: i32,
  nan: i32,
  overflow: v128,
): v128 {
  const shift = 23 - mantissa;
  const magnitude = v128.and(values, i32x4.splat(0x7fffffff));
  const sign = v128.and(i32x4.shr_u(values, 32 - width), i32x4.splat(1 << (width - 1)));
  const odd = v128.and(i32x4.shr_u(magnitude, shift), i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(magnitude, i32x4.splat((1 << (shift - 1)) - 1)), odd);
  let codes = i32x4.sub(i32x4.shr_u(rounded, shift), i32x4.splat((127 - bias) << mantissa));
  if (bias != 127) {
    // Adding a value whose last place is the smallest subnormal makes the adder round half to even for us.
    const adder = (151 - bias - mantissa) << 23;
    const sum = f32x4.add(magnitude, f32x4.splat(reinterpret<f32>(adder)));
    const subnormal = i32x4.sub(sum, i32x4.splat(adder));
    codes = v128.bitselect(subnormal, codes, i32x4.lt_s(magnitude, i32x4.splat((128 - bias) << 23)));
  }
  codes = i32x4.min_u(codes, overflow);
  codes = v128.bitselect(i32x4.splat(nan), codes, i32x4.gt_s(magnitude, i32x4.splat(0x7f800000)));
  return v128.or(codes, sign);
}

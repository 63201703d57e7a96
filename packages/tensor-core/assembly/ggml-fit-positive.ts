// One scale for values that are hardly ever negative, codes from 0 to n, on four sub-blocks at a time. The specification is `fitPositive` of
// @pith/quant src/ggml/fit-affine.ts; the scale is equal bit for bit. Codes are kept as ggml's bytes keep them: a negative one comes out large.
import { exactCodesOf } from './ggml-lanes';
import { LANES_P, LANES_Q, LANES_W, LANES_X } from './ggml-scratch';

const W: usize = LANES_W - LANES_X;
const P: usize = LANES_P - LANES_X;
const Q: usize = LANES_Q - LANES_X;

/** Integers of ggml's rounding, at most n. */
// @ts-ignore: decorator
@inline
function codesUpTo(x: v128, n: i32): v128 {
  return exactCodesOf(x, -0x400000, n);
}

/** A code as a byte keeps it. */
// @ts-ignore: decorator
@inline
function asByte(code: v128): v128 {
  return f32x4.convert_i32x4_s(v128.and(i32x4.trunc_sat_f32x4_s(code), i32x4.splat(255)));
}

/** Weighted squared errors of four sub-blocks. */
// @ts-ignore: decorator
@inline
function errorsOf(x: usize, count: i32, inverse: v128, n: i32, bytes: bool): v128 {
  const scale = f32x4.div(f32x4.splat(1), inverse);
  const end = x + ((<usize>count) << 4);
  let sum = f32x4.splat(0);
  for (let at = x; at < end; at += 16) {
    const a = v128.load(at);
    let code = codesUpTo(f32x4.mul(inverse, a), n);
    if (bytes) code = asByte(code);
    const d = f32x4.sub(a, f32x4.mul(scale, code));
    sum = f32x4.add(sum, f32x4.mul(f32x4.mul(v128.load(at, W), d), d));
  }
  return sum;
}

/** Scales of `count` values at `x`, transposed; their weights and products with them lie as in ggml-scratch.ts. Uses LANES_Q. */
export function fitPositiveLanes(n: i32, x: usize, count: i32): v128 {
  const none = f32x4.splat(0);
  const end = x + ((<usize>count) << 4);
  let most = none;
  for (let at = x; at < end; at += 16) most = f32x4.pmax(most, v128.load(at));
  const zero = f32x4.lt(most, f32x4.splat(1e-15));
  let inverse = f32x4.div(f32x4.splat(<f32>n), most);
  let best = errorsOf(x, count, inverse, 0x3fffff, true);
  for (let step = -4; step <= 4; step++) {
    if (step == 0) continue;
    const numerator: f32 = <f32>0.1 * <f32>step + <f32>n;
    const tried = f32x4.div(f32x4.splat(numerator), most);
    const found = errorsOf(x, count, tried, n, false);
    const better = f32x4.lt(found, best);
    best = v128.bitselect(found, best, better);
    inverse = v128.bitselect(tried, inverse, better);
  }
  let wxq = none;
  let wqq = none;
  for (let at = x; at < end; at += 16) {
    const q = codesUpTo(f32x4.mul(inverse, v128.load(at)), n);
    v128.store(at, asByte(q), Q);
    wxq = f32x4.add(wxq, f32x4.mul(v128.load(at, P), q));
    wqq = f32x4.add(wqq, f32x4.mul(f32x4.mul(v128.load(at, W), q), q));
  }
  for (let round = 0; round < 5; round++) {
    let changed = none;
    for (let at = x; at < end; at += 16) {
      const q = v128.load(at, Q);
      const w = v128.load(at, W);
      const wx = v128.load(at, P);
      let wxqRest = f32x4.sub(wxq, f32x4.mul(wx, q));
      let wqqRest = f32x4.sub(wqq, f32x4.mul(f32x4.mul(w, q), q));
      let better = v128.and(f32x4.gt(wxqRest, none), f32x4.gt(wqqRest, none));
      const next = codesUpTo(f32x4.div(f32x4.mul(v128.load(at), wqqRest), wxqRest), n);
      better = v128.and(better, f32x4.ne(next, q));
      if (!v128.any_true(better)) continue;
      wxqRest = f32x4.add(wxqRest, f32x4.mul(wx, next));
      wqqRest = f32x4.add(wqqRest, f32x4.mul(f32x4.mul(w, next), next));
      const gain = f32x4.gt(
        f32x4.mul(f32x4.mul(wxqRest, wxqRest), wqq),
        f32x4.mul(f32x4.mul(wxq, wxq), wqqRest),
      );
      better = v128.and(better, gain);
      v128.store(at, v128.bitselect(asByte(next), q, better), Q);
      wxq = v128.bitselect(wxqRest, wxq, better);
      wqq = v128.bitselect(wqqRest, wqq, better);
      changed = v128.or(changed, better);
    }
    if (!v128.any_true(changed)) break;
  }
  const scale = v128.bitselect(f32x4.div(wxq, wqq), none, f32x4.gt(wqq, none));
  return v128.andnot(scale, zero);
}

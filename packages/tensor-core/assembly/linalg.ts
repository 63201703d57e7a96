// The memory-bound half of the dense factorizations, in f64: what blocking cannot turn into matrix products. Lines are
// contiguous runs of values, `stride` values apart; a line is a column of a factor or a row of a matrix. The specification
// is src/linalg/panel-kernels-reference.ts: the order of summation differs, so results agree to rounding.

/** y = A x for a symmetric matrix of f64, of which the lower triangle is read. Row i starts `i * stride` values after `matrix`. */
export function symmetricTimesVectorF64(matrix: usize, stride: i32, size: i32, x: usize, y: usize): void {
  memory.fill(y, 0, (<usize>size) << 3);
  const line = (<usize>stride) << 3;
  let i = 0;
  // Four rows at a time: the square left of the diagonal serves both its rows and, mirrored, its columns.
  for (; i <= size - 4; i += 4) {
    const r0 = matrix + <usize>i * line;
    const r1 = r0 + line;
    const r2 = r1 + line;
    const r3 = r2 + line;
    const x0 = v128.load64_splat(x + ((<usize>i) << 3));
    const x1 = v128.load64_splat(x + ((<usize>i) << 3), 8);
    const x2 = v128.load64_splat(x + ((<usize>i) << 3), 16);
    const x3 = v128.load64_splat(x + ((<usize>i) << 3), 24);
    let s0 = f64x2.splat(0);
    let s1 = f64x2.splat(0);
    let s2 = f64x2.splat(0);
    let s3 = f64x2.splat(0);
    const end = (<usize>i) << 3;
    for (let at: usize = 0; at < end; at += 16) {
      const a0 = v128.load(r0 + at);
      const a1 = v128.load(r1 + at);
      const a2 = v128.load(r2 + at);
      const a3 = v128.load(r3 + at);
      const xj = v128.load(x + at);
      s0 = f64x2.add(s0, f64x2.mul(a0, xj));
      s1 = f64x2.add(s1, f64x2.mul(a1, xj));
      s2 = f64x2.add(s2, f64x2.mul(a2, xj));
      s3 = f64x2.add(s3, f64x2.mul(a3, xj));
      const low = f64x2.add(f64x2.mul(a0, x0), f64x2.mul(a1, x1));
      const high = f64x2.add(f64x2.mul(a2, x2), f64x2.mul(a3, x3));
      v128.store(y + at, f64x2.add(v128.load(y + at), f64x2.add(low, high)));
    }
    addTo(y + end, sum(s0));
    addTo(y + end + 8, sum(s1));
    addTo(y + end + 16, sum(s2));
    addTo(y + end + 24, sum(s3));
    for (let k = 0; k < 4; k++) triangleRow(matrix, line, i + k, i, x, y);
  }
  for (; i < size; i++) triangleRow(matrix, line, i, 0, x, y);
}

/** result[c] = the dot product of line c of f64 with x, for `count` lines of `length` values. */
export function lineDotsF64(lines: usize, stride: i32, count: i32, x: usize, length: i32, result: usize): void {
  const line = (<usize>stride) << 3;
  const end = (<usize>(length & ~1)) << 3;
  let c = 0;
  for (; c <= count - 4; c += 4) {
    const l0 = lines + <usize>c * line;
    const l1 = l0 + line;
    const l2 = l1 + line;
    const l3 = l2 + line;
    let s0 = f64x2.splat(0);
    let s1 = f64x2.splat(0);
    let s2 = f64x2.splat(0);
    let s3 = f64x2.splat(0);
    for (let at: usize = 0; at < end; at += 16) {
      const v = v128.load(x + at);
      s0 = f64x2.add(s0, f64x2.mul(v128.load(l0 + at), v));
      s1 = f64x2.add(s1, f64x2.mul(v128.load(l1 + at), v));
      s2 = f64x2.add(s2, f64x2.mul(v128.load(l2 + at), v));
      s3 = f64x2.add(s3, f64x2.mul(v128.load(l3 + at), v));
    }
    const to = result + ((<usize>c) << 3);
    store<f64>(to, sum(s0) + tail(l0, x, end, length));
    store<f64>(to + 8, sum(s1) + tail(l1, x, end, length));
    store<f64>(to + 16, sum(s2) + tail(l2, x, end, length));
    store<f64>(to + 24, sum(s3) + tail(l3, x, end, length));
  }
  for (; c < count; c++) {
    const l = lines + <usize>c * line;
    let s0 = f64x2.splat(0);
    let s1 = f64x2.splat(0);
    const pairs = end & ~31;
    for (let at: usize = 0; at < pairs; at += 32) {
      s0 = f64x2.add(s0, f64x2.mul(v128.load(l + at), v128.load(x + at)));
      s1 = f64x2.add(s1, f64x2.mul(v128.load(l + at, 16), v128.load(x + at, 16)));
    }
    if (pairs < end) s0 = f64x2.add(s0, f64x2.mul(v128.load(l + pairs), v128.load(x + pairs)));
    store<f64>(result + ((<usize>c) << 3), sum(f64x2.add(s0, s1)) + tail(l, x, end, length));
  }
}

/** y += the sum over c of coefficients[c] times line c of f64, for `count` lines of `length` values. */
export function combineLinesF64(
  lines: usize,
  stride: i32,
  count: i32,
  coefficients: usize,
  y: usize,
  length: i32,
): void {
  const line = (<usize>stride) << 3;
  const end = (<usize>(length & ~1)) << 3;
  const odd = (length & 1) != 0;
  let c = 0;
  for (; c <= count - 4; c += 4) {
    const l0 = lines + <usize>c * line;
    const l1 = l0 + line;
    const l2 = l1 + line;
    const l3 = l2 + line;
    const from = coefficients + ((<usize>c) << 3);
    const c0 = v128.load64_splat(from);
    const c1 = v128.load64_splat(from, 8);
    const c2 = v128.load64_splat(from, 16);
    const c3 = v128.load64_splat(from, 24);
    for (let at: usize = 0; at < end; at += 16) {
      const low = f64x2.add(f64x2.mul(v128.load(l0 + at), c0), f64x2.mul(v128.load(l1 + at), c1));
      const high = f64x2.add(f64x2.mul(v128.load(l2 + at), c2), f64x2.mul(v128.load(l3 + at), c3));
      v128.store(y + at, f64x2.add(v128.load(y + at), f64x2.add(low, high)));
    }
    if (odd) {
      const low = load<f64>(l0 + end) * load<f64>(from) + load<f64>(l1 + end) * load<f64>(from, 8);
      const high = load<f64>(l2 + end) * load<f64>(from, 16) + load<f64>(l3 + end) * load<f64>(from, 24);
      addTo(y + end, low + high);
    }
  }
  for (; c < count; c++) {
    const l = lines + <usize>c * line;
    const from = coefficients + ((<usize>c) << 3);
    const c0 = v128.load64_splat(from);
    for (let at: usize = 0; at < end; at += 16) {
      v128.store(y + at, f64x2.add(v128.load(y + at), f64x2.mul(v128.load(l + at), c0)));
    }
    if (odd) addTo(y + end, load<f64>(l + end) * load<f64>(from));
  }
}

/** Line c of f64 += coefficients[c] times x, for `count` lines of `length` values. */
export function addToLinesF64(lines: usize, stride: i32, count: i32, coefficients: usize, x: usize, length: i32): void {
  const line = (<usize>stride) << 3;
  const end = (<usize>(length & ~1)) << 3;
  const odd = (length & 1) != 0;
  for (let c = 0; c < count; c++) {
    const l = lines + <usize>c * line;
    const coefficient = load<f64>(coefficients + ((<usize>c) << 3));
    const c0 = f64x2.splat(coefficient);
    for (let at: usize = 0; at < end; at += 16) {
      v128.store(l + at, f64x2.add(v128.load(l + at), f64x2.mul(v128.load(x + at), c0)));
    }
    if (odd) addTo(l + end, load<f64>(x + end) * coefficient);
  }
}

// Row i of a lower triangle from column `first` on: as a row, and mirrored as a column. The diagonal counts once.
// @ts-ignore: decorator
@inline
function triangleRow(matrix: usize, line: usize, i: i32, first: i32, x: usize, y: usize): void {
  const row = matrix + <usize>i * line;
  const xi = load<f64>(x + ((<usize>i) << 3));
  let total: f64 = 0;
  for (let j = first; j < i; j++) {
    const at = (<usize>j) << 3;
    const a = load<f64>(row + at);
    total += a * load<f64>(x + at);
    addTo(y + at, a * xi);
  }
  addTo(y + ((<usize>i) << 3), total + load<f64>(row + ((<usize>i) << 3)) * xi);
}

// @ts-ignore: decorator
@inline
function addTo(at: usize, value: f64): void {
  store<f64>(at, load<f64>(at) + value);
}

// @ts-ignore: decorator
@inline
function sum(x: v128): f64 {
  return f64x2.extract_lane(x, 0) + f64x2.extract_lane(x, 1);
}

// The last value of an odd length.
// @ts-ignore: decorator
@inline
function tail(line: usize, x: usize, end: usize, length: i32): f64 {
  return (length & 1) != 0 ? load<f64>(line + end) * load<f64>(x + end) : 0;
}

/** Copies `count` lines of so many bytes each; pitches are bytes from one line to the next. */
export function copyLines(
  source: usize,
  sourcePitch: i32,
  target: usize,
  targetPitch: i32,
  bytes: i32,
  count: i32,
): void {
  for (let i = 0; i < count; i++) {
    memory.copy(target, source, <usize>bytes);
    source += <usize>sourcePitch;
    target += <usize>targetPitch;
  }
}

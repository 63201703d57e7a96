// Plain versions of the kernels in assembly/linalg.ts: what those compute, one value after the other. Tests hold the two
// together; nothing else uses this file.

/** y = A x; row i of the lower triangle of A starts at `i * stride`. */
export function symmetricTimesVector(matrix: Float64Array, stride: number, x: Float64Array): Float64Array {
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j < x.length; j++) y[i] += matrix[Math.max(i, j) * stride + Math.min(i, j)] * x[j];
  }
  return y;
}

/** The dot product of each line with x. */
export function lineDots(lines: Float64Array, stride: number, count: number, x: Float64Array): Float64Array {
  const dots = new Float64Array(count);
  for (let c = 0; c < count; c++) for (let i = 0; i < x.length; i++) dots[c] += lines[c * stride + i] * x[i];
  return dots;
}

/** y plus each line times its coefficient. */
export function combineLines(
  lines: Float64Array,
  stride: number,
  coefficients: Float64Array,
  y: Float64Array,
): Float64Array {
  const result = y.slice();
  for (let c = 0; c < coefficients.length; c++) {
    for (let i = 0; i < y.length; i++) result[i] += lines[c * stride + i] * coefficients[c];
  }
  return result;
}

/** The lines, each plus its coefficient times x. */
export function addToLines(
  lines: Float64Array,
  stride: number,
  coefficients: Float64Array,
  x: Float64Array,
): Float64Array {
  const result = lines.slice();
  for (let c = 0; c < coefficients.length; c++) {
    for (let i = 0; i < x.length; i++) result[c * stride + i] += coefficients[c] * x[i];
  }
  return result;
}

// Householder QR, blocked: reflections are made a panel of columns at a time in a SIMD kernel, joined to I - V T V^T
// (Schreiber & Van Loan 1989) and applied to the other columns as matrix products.
//
// Inside, matrices lie transposed, a column of the matrix being a contiguous line: panels then need no gather, and the
// vectors V, which are lines as well, enter products as they lie. Everything is f64.
import { throwIfStopped } from '../errors/pith-error.ts';
import type { Device } from '../device/device.ts';
import type { RunOptions } from '../progress/progress.ts';
import { blockFactor, reflector } from './householder.ts';
import { checkMatrix, matrixOf, scaleToOne, scaledCopy } from './matrix.ts';
import type { RealMatrix } from './matrix.ts';
import { Products } from './products.ts';
import type { RealDType } from './products.ts';
import { Workspace } from './workspace.ts';

/** Columns of a panel. */
export const QR_PANEL = 64;

/** Lines that one product changes, at fixed places, so that few programs serve all panels. */
const BAND_LINES = 256;

/** Options of {@link qr}. */
export interface QrOptions extends RunOptions {
  /** Columns that are reduced at a time; 64 when left out. Results differ by rounding. */
  readonly panel?: number;
  /** Products of at most this many multiplications run as plain loops. */
  readonly plainWork?: number;
}

/** A = q * r, thin: k = min(rows, columns). */
export interface QrFactors<D extends RealDType = RealDType> {
  /** [rows, k], orthonormal columns. */
  readonly q: RealMatrix<D>;
  /** [k, columns], upper triangular; the signs of its diagonal have no meaning. */
  readonly r: RealMatrix<D>;
}

/**
 * The thin QR factorization of a matrix of f32 or f64, shape [rows, columns], of any rank.
 *
 * Computed in f64, returned in the dtype of the input. The residual and the loss of orthogonality are of the order of
 * columns * eps, the former times the norm of the matrix.
 *
 * @throws PithError `LINALG_SHAPE`, `LINALG_DTYPE`, `LINALG_NOT_FINITE` before any work; `STOPPED`;
 * `KERNEL_MEMORY_UNAVAILABLE`.
 */
export async function qr<D extends RealDType>(
  matrix: RealMatrix<D>,
  device: Device,
  options: QrOptions = {},
): Promise<QrFactors<D>> {
  const { rows, columns } = checkMatrix('qr', matrix);
  const products = new Products(device, 'f64', options.plainWork);
  try {
    const scale = scaleToOne(matrix.data);
    const { q, r } = await qrF64(scaledCopy(matrix.data, scale), rows, columns, products, options);
    for (let i = 0; i < r.length; i++) r[i] /= scale;
    const inner = Math.min(rows, columns);
    return { q: matrixOf(matrix.dtype, rows, inner, q), r: matrixOf(matrix.dtype, inner, columns, r) };
  } finally {
    await products.dispose();
  }
}

/** @internal {@link qr} without checks, on given products, of values of about 1. */
export async function qrF64(
  data: Float64Array,
  rows: number,
  columns: number,
  products: Products<'f64'>,
  options: QrOptions = {},
): Promise<{ q: Float64Array; r: Float64Array }> {
  const inner = Math.min(rows, columns);
  const panel = Math.min(options.panel ?? QR_PANEL, inner);
  const lines = transposed(data, rows, columns);
  const blocks: Block[] = [];
  const workspace = new PanelWorkspace(rows, panel);
  const scratch = new Float64Array(Math.min(BAND_LINES, columns) * rows);
  for (let start = 0; start < inner; start += panel) {
    throwIfStopped(options.signal, 'qr');
    const count = Math.min(panel, inner - start);
    const part = lines.subarray(start * rows, (start + count) * rows);
    const { vectors, taus } = workspace.factor(part, start, count);
    const operand = { data: vectors, rows: count, columns: rows };
    const gram = await products.multiply(operand, { ...operand, transpose: true });
    const block = { start, count, vectors, factor: blockFactor(gram, taus, count) };
    blocks.push(block);
    if (start + count < columns) {
      const finished = part.slice();
      await applyToLines(lines, start + count, columns, rows, block, false, products, scratch);
      part.set(finished);
    }
    options.progress?.({ phase: 'qr', done: start + count, total: inner, unit: 'column' });
  }
  const r = new Float64Array(inner * columns);
  for (let j = 0; j < columns; j++) {
    for (let i = 0; i <= Math.min(j, inner - 1); i++) r[i * columns + j] = lines[j * rows + i];
  }
  const q = new Float64Array(inner * rows);
  for (let j = 0; j < inner; j++) q[j * rows + j] = 1;
  for (const block of blocks.reverse()) {
    throwIfStopped(options.signal, 'qr');
    await applyToLines(q, block.start, inner, rows, block, true, products, scratch);
  }
  return { q: transposed(q, inner, rows), r };
}

/** Reflections `start` to `start + count`: I - V T V^T. */
interface Block {
  readonly start: number;
  readonly count: number;
  /** count x rows: the columns of V as lines. */
  readonly vectors: Float64Array;
  /** T, count x count. */
  readonly factor: Float64Array;
}

// C = C - (C V) T V^T for lines `first` to `end`; with `reverse`, T^T: the reflections in the opposite order. Lines before
// `first` in the first band are changed as well: they are units or finished, and the caller puts the latter back.
async function applyToLines(
  lines: Float64Array,
  first: number,
  end: number,
  length: number,
  { count, vectors, factor }: Block,
  reverse: boolean,
  products: Products<'f64'>,
  scratch: Float64Array,
): Promise<void> {
  const band = Math.min(BAND_LINES, end);
  for (let line = Math.floor(first / band) * band; line < end; line += band) {
    const rows = Math.min(band, end - line);
    const part = lines.subarray(line * length, (line + rows) * length);
    const components = await products.multiply(
      { data: part, rows, columns: length },
      { data: vectors, rows: count, columns: length, transpose: true },
    );
    const weights = await products.multiply(
      { data: components, rows, columns: count },
      { data: factor, rows: count, columns: count, transpose: reverse },
    );
    const into = scratch.subarray(0, rows * length);
    await products.multiply(
      { data: weights, rows, columns: count },
      { data: vectors, rows: count, columns: length },
      { scale: -1, add: part, into },
    );
    part.set(into);
  }
}

// Factors a panel with the SIMD kernels, in memory of their own.
class PanelWorkspace {
  readonly #workspace: Workspace;
  readonly #panel: ReturnType<Workspace['take']>;
  readonly #coefficients: ReturnType<Workspace['take']>;
  readonly #length: number;

  constructor(length: number, panel: number) {
    this.#length = length;
    this.#workspace = new Workspace([panel * length, panel]);
    this.#panel = this.#workspace.take(panel * length);
    this.#coefficients = this.#workspace.take(panel);
  }

  /** Reduces `count` lines from row `start` on; the lines become columns of R, with zeros below. */
  factor(lines: Float64Array, start: number, count: number): { vectors: Float64Array; taus: Float64Array } {
    const length = this.#length;
    const { kernels } = this.#workspace;
    const { values, at } = this.#panel;
    const coefficients = this.#coefficients;
    const taus = new Float64Array(count);
    values.set(lines);
    const vectors = new Float64Array(count * length);
    for (let c = 0; c < count; c++) {
      const row = start + c;
      const from = c * length + row;
      const { beta, tau } = reflector(values.subarray(from, (c + 1) * length));
      taus[c] = tau;
      const rest = count - c - 1;
      if (tau !== 0 && rest > 0) {
        const next = at + (from + length) * 8;
        kernels.lineDotsF64(next, length, rest, at + from * 8, length - row, coefficients.at);
        for (let k = 0; k < rest; k++) coefficients.values[k] *= -tau;
        kernels.addToLinesF64(next, length, rest, coefficients.at, at + from * 8, length - row);
      }
      vectors.set(values.subarray(from, (c + 1) * length), from);
      lines.set(values.subarray(c * length, from), c * length);
      lines[from] = beta;
      lines.fill(0, from + 1, (c + 1) * length);
    }
    return { vectors, taus };
  }
}

// The transpose, tile by tile.
function transposed(data: Float64Array, rows: number, columns: number): Float64Array {
  const tile = 32;
  const result = new Float64Array(rows * columns);
  for (let i0 = 0; i0 < rows; i0 += tile) {
    for (let j0 = 0; j0 < columns; j0 += tile) {
      for (let i = i0; i < Math.min(rows, i0 + tile); i++) {
        for (let j = j0; j < Math.min(columns, j0 + tile); j++) result[j * rows + i] = data[i * columns + j];
      }
    }
  }
  return result;
}

// A symmetric matrix to tridiagonal form by Householder reflections, a panel of columns at a time (Dongarra, Hammarling &
// Sorensen 1989; LAPACK's sytrd/latrd). Half of the arithmetic is one symmetric matrix-vector product per column, which
// runs at the speed of memory in a SIMD kernel over half of the matrix; the other half, the rank-2k updates after each
// panel, are matrix products.
import { throwIfStopped } from '../errors/pith-error.ts';
import type { RunOptions } from '../progress/progress.ts';
import { blockFactor, reflector } from './householder.ts';
import type { Products } from './products.ts';
import { Workspace } from './workspace.ts';

/** Columns reduced between two updates of the rest of the matrix. */
export const TRIDIAGONAL_PANEL = 64;

/** Rows of the rest that one product updates. Widths are rounded up to it, so that few programs serve all panels. */
const UPDATE_ROWS = 256;

/** Reflections that are applied at a time to eigenvectors. */
const APPLY_GROUP = 128;

/** Rows of eigenvectors that one product changes. */
const APPLY_ROWS = 256;

/** A = Q T Q^T, with Q held as reflections. */
export interface Tridiagonalization {
  /** Diagonal of T, n values. */
  readonly diagonal: Float64Array;
  /** Off-diagonal of T, n - 1 values. */
  readonly offDiagonal: Float64Array;
  /** n x n; row c holds reflection vector c in columns c + 1 on, its first value being 1. The rest has no meaning. */
  readonly reflectors: Float64Array;
  /** The factor of each reflection I - tau v v^T, n values. */
  readonly taus: Float64Array;
}

/** Options of {@link tridiagonalize}. */
export interface TridiagonalizeOptions extends RunOptions {
  /** Columns of a panel; {@link TRIDIAGONAL_PANEL} when left out. */
  readonly panel?: number | undefined;
}

/**
 * Tridiagonalizes a symmetric matrix (n x n, f64, row-major), of which the lower triangle is read.
 *
 * @throws PithError `STOPPED`, `KERNEL_MEMORY_UNAVAILABLE`
 */
export async function tridiagonalize(
  matrix: HostMatrix,
  n: number,
  products: Products<'f64'>,
  options: TridiagonalizeOptions = {},
): Promise<Tridiagonalization> {
  const panel = Math.min(options.panel ?? TRIDIAGONAL_PANEL, n);
  const workspace = new Workspace([n * n, panel * n, n, panel, panel]);
  const state: State = {
    n,
    kernels: workspace.kernels,
    a: workspace.take(n * n),
    w: workspace.take(panel * n),
    column: workspace.take(n),
    first: workspace.take(panel),
    second: workspace.take(panel),
    diagonal: new Float64Array(n),
    offDiagonal: new Float64Array(Math.max(0, n - 1)),
    taus: new Float64Array(n),
  };
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) state.a.values[i * n + j] = matrix(i, j);
  }
  const scratch: Scratch = { into: new Float64Array(0) };
  for (let start = 0; start < n; start += panel) {
    throwIfStopped(options.signal, 'symmetric eigendecomposition');
    const end = Math.min(n, start + panel);
    for (let j = start; j < end; j++) reduceColumn(state, start, j);
    if (end < n) await updateRest(state, start, end, products, scratch);
    options.progress?.({ phase: 'tridiagonalize', done: end, total: n, unit: 'column' });
  }
  return {
    diagonal: state.diagonal,
    offDiagonal: state.offDiagonal,
    reflectors: state.a.values,
    taus: state.taus,
  };
}

/** The element in row i and column j. */
export type HostMatrix = (i: number, j: number) => number;

interface Region {
  readonly at: number;
  readonly values: Float64Array;
}

interface Scratch {
  into: Float64Array;
}

interface State {
  readonly n: number;
  readonly kernels: Workspace['kernels'];
  /** Lower triangle: the matrix. Row c right of the diagonal: reflection vector c. */
  readonly a: Region;
  /** Line c - start: vector w of column c, in the coordinates of the matrix. */
  readonly w: Region;
  readonly column: Region;
  readonly first: Region;
  readonly second: Region;
  readonly diagonal: Float64Array;
  readonly offDiagonal: Float64Array;
  readonly taus: Float64Array;
}

// Column j: what the panel's earlier columns do to it, its reflection, and its w, so that the rest of the matrix will
// become A - v w^T - w v^T.
function reduceColumn(state: State, start: number, j: number): void {
  const { n, kernels, a, w, column, first, second } = state;
  const before = j - start;
  const at = (region: Region, index: number): number => region.at + index * 8;
  for (let i = j; i < n; i++) column.values[i] = a.values[i * n + j];
  for (let c = 0; c < before; c++) {
    first.values[c] = -w.values[c * n + j];
    second.values[c] = -a.values[(start + c) * n + j];
  }
  kernels.combineLinesF64(at(a, start * n + j), n, before, first.at, at(column, j), n - j);
  kernels.combineLinesF64(at(w, j), n, before, second.at, at(column, j), n - j);
  state.diagonal[j] = column.values[j];
  if (j === n - 1) return;

  const below = n - j - 1;
  const { beta, tau } = reflector(column.values.subarray(j + 1, n));
  state.offDiagonal[j] = beta;
  state.taus[j] = tau;
  const v = a.values.subarray(j * n + j + 1, (j + 1) * n);
  v.set(column.values.subarray(j + 1, n));
  const line = w.values.subarray(before * n + j + 1, (before + 1) * n);
  if (tau === 0) {
    line.fill(0);
    return;
  }
  const vAt = at(a, j * n + j + 1);
  const lineAt = at(w, before * n + j + 1);
  kernels.symmetricTimesVectorF64(at(a, (j + 1) * n + j + 1), n, below, vAt, lineAt);
  // line -= V (W^T v) + W (V^T v)
  kernels.lineDotsF64(at(w, j + 1), n, before, vAt, below, first.at);
  kernels.lineDotsF64(at(a, start * n + j + 1), n, before, vAt, below, second.at);
  for (let c = 0; c < before; c++) {
    first.values[c] = -first.values[c];
    second.values[c] = -second.values[c];
  }
  kernels.combineLinesF64(at(a, start * n + j + 1), n, before, first.at, lineAt, below);
  kernels.combineLinesF64(at(w, j + 1), n, before, second.at, lineAt, below);
  let product = 0;
  for (let i = 0; i < below; i++) product += line[i] * v[i];
  const correction = -0.5 * tau * tau * product;
  for (let i = 0; i < below; i++) line[i] = tau * line[i] + correction * v[i];
}

// The lower triangle of the rest, a band of rows at a time: A -= [V W] [W V]^T.
async function updateRest(
  state: State,
  start: number,
  end: number,
  products: Products<'f64'>,
  scratch: Scratch,
): Promise<void> {
  const { n, a, w } = state;
  const size = n - end;
  const count = end - start;
  const band = Math.min(UPDATE_ROWS, n);
  const padded = Math.ceil(size / band) * band;
  const left = new Float64Array(padded * 2 * count);
  const right = new Float64Array(padded * 2 * count);
  for (let c = 0; c < count; c++) {
    const vAt = (start + c) * n + end;
    const wAt = c * n + end;
    for (let i = 0, to = c; i < size; i++, to += 2 * count) {
      left[to] = right[to + count] = a.values[vAt + i];
      left[to + count] = right[to] = w.values[wAt + i];
    }
  }
  if (scratch.into.length < band * padded) scratch.into = new Float64Array(band * padded);
  for (let row = 0; row < size; row += band) {
    const width = row + band;
    const change = scratch.into.subarray(0, band * width);
    await products.multiply(
      { data: left.subarray(row * 2 * count, width * 2 * count), rows: band, columns: 2 * count },
      { data: right.subarray(0, width * 2 * count), rows: width, columns: 2 * count, transpose: true },
      { into: change },
    );
    for (let i = row; i < Math.min(width, size); i++) {
      const to = (end + i) * n + end;
      const from = (i - row) * width;
      for (let j = 0; j <= i; j++) a.values[to + j] -= change[from + j];
    }
  }
}

/** Z = Q Z in place, for Z of n rows and `columns` columns, row-major. */
export async function applyReflections(
  { reflectors, taus }: Tridiagonalization,
  z: Float64Array,
  columns: number,
  products: Products<'f64'>,
  signal?: AbortSignal,
): Promise<void> {
  const n = taus.length;
  if (n < 2) return;
  const group = Math.min(APPLY_GROUP, n);
  const lastStart = Math.floor((n - 2) / group) * group;
  const v = new Float64Array(n * group);
  const inner = new Float64Array(group * columns);
  const scaled = new Float64Array(group * columns);
  const band = Math.min(APPLY_ROWS, n);
  const into = new Float64Array(band * columns);
  for (let start = lastStart; start >= 0; start -= group) {
    throwIfStopped(signal, 'symmetric eigendecomposition');
    v.fill(0);
    for (let c = start; c < Math.min(start + group, n - 1); c++) {
      for (let i = c + 1; i < n; i++) v[i * group + c - start] = reflectors[c * n + i];
    }
    const bands = bandsFrom(start + 1, n, band);
    const vectors = { data: v, rows: n, columns: group };
    const gram = await products.multiply({ ...vectors, transpose: true }, vectors);
    const factor = blockFactor(gram, taus.subarray(start, Math.min(start + group, n - 1)), group);
    // inner = V^T Z, summed over bands of rows
    let sum: Float64Array | undefined;
    for (const [row, rows] of bands) {
      const next: Float64Array = sum === inner ? scaled : inner;
      await products.multiply(
        { data: v.subarray(row * group, (row + rows) * group), rows, columns: group, transpose: true },
        { data: z.subarray(row * columns, (row + rows) * columns), rows, columns },
        { into: next, ...(sum && { add: sum }) },
      );
      sum = next;
    }
    const other = sum === inner ? scaled : inner;
    await products.multiply(
      { data: factor, rows: group, columns: group },
      { data: sum!, rows: group, columns },
      { into: other },
    );
    for (const [row, rows] of bands) {
      const part = z.subarray(row * columns, (row + rows) * columns);
      const changed = into.subarray(0, rows * columns);
      await products.multiply(
        { data: v.subarray(row * group, (row + rows) * group), rows, columns: group },
        { data: other, rows: group, columns },
        { scale: -1, add: part, into: changed },
      );
      part.set(changed);
    }
  }
}

// Bands of rows at fixed places, from the one that holds row `first`: rows before it meet zeros of V.
function bandsFrom(first: number, n: number, band: number): [row: number, rows: number][] {
  const bands: [number, number][] = [];
  for (let row = Math.floor(first / band) * band; row < n; row += band) bands.push([row, Math.min(band, n - row)]);
  return bands;
}

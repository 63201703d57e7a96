// With how many threads a matrix product has the bits that it has with one.
//
// ONNX Runtime cuts a product over threads along its longer side: rows into runs, or columns into runs of whole sixteens. Each
// sum over k is itself cut into strides whose length depends on the columns *of the run* (MLAS, sgemm.cpp: narrow runs
// have longer strides), and a run of a single row has a path of its own. So a product that is wider than tall rounds
// differently when its runs become narrow. A program is given no more threads than leave every sum as it is; products
// that this slows down are small ones. Found by comparing bits of 5,040 products in f32 and 1,056 in f64 with 1 to 32 threads.
import type { GraphNode, OnnxGraph } from './graph.ts';

/** Columns that a run is made of. */
const RUN_COLUMNS = 16;
/** Multiplications for which another thread is taken. */
const WORK_PER_THREAD = 65536;
/** Columns and summands of a stride, before they are fitted to the run. */
const STRIDE_COLUMNS = { f32: 128, f64: 64 } as const;
const STRIDE_SUMMANDS = 128;

/** A product [m, k] [k, n]. */
export interface ProductShape {
  /** Rows of the result. */
  readonly m: number;
  /** Summands. */
  readonly k: number;
  /** Columns of the result. */
  readonly n: number;
  /** Type of the elements. */
  readonly dtype: 'f32' | 'f64';
  /** The left operand is stored as its transpose: no row has a path of its own then. */
  readonly transposeA: boolean;
}

/** The most of `threads` threads with which the product, and every one with fewer, has the bits of one thread. */
export function productThreads(shape: ProductShape, threads: number): number {
  const { m, k, n } = shape;
  // More are not taken, whatever there are.
  const taken = Math.min(threads, Math.floor((m * k * n) / WORK_PER_THREAD) + 1);
  for (let count = 2; count <= taken; count++) if (!sameBits(shape, count)) return count - 1;
  return threads;
}

function sameBits({ m, k, n, dtype, transposeA }: ProductShape, threads: number): boolean {
  if (n <= m) return transposeA || m === 1 || Math.floor(m / threads) > 1;
  const runs = Math.ceil(n / RUN_COLUMNS);
  const shares = Math.min(threads, runs);
  const [least, longer] = [Math.floor(runs / shares), runs % shares];
  const whole = summands(n, k, dtype);
  for (let share = 0, from = 0; share < shares; share++) {
    const columns = Math.min(n - from, (least + Number(share < longer)) * RUN_COLUMNS);
    from += columns;
    if (summands(columns, k, dtype) !== whole) return false;
  }
  return true;
}

/** Summands of a stride of a run of `columns` columns; at most all. */
function summands(columns: number, k: number, dtype: 'f32' | 'f64'): number {
  let [width, length] = [STRIDE_COLUMNS[dtype] as number, STRIDE_SUMMANDS];
  if (columns >= k) {
    while (length / 2 >= k) length /= 2;
  } else {
    for (; width > RUN_COLUMNS && width / 2 >= columns; width /= 2) length *= 2;
  }
  return Math.min(length, k);
}

/** The most of `threads` threads with which all products of a graph have the bits of one thread. Open axes do not count. */
export function graphThreads(graph: OnnxGraph, threads: number): number {
  let most = threads;
  for (const node of graph.live().nodes) {
    const shape = productOf(node);
    if (shape !== undefined) most = Math.min(most, productThreads(shape, most));
  }
  return most;
}

function productOf({ opType, inputs, attributes, outputs }: GraphNode): ProductShape | undefined {
  if (!['MatMul', 'FusedMatMul', 'Gemm'].includes(opType)) return undefined;
  const [a, b] = inputs;
  const { dtype, shape } = outputs[0]!;
  if (a === undefined || b === undefined || (dtype !== 'f32' && dtype !== 'f64')) return undefined;
  const transposeA = flag(attributes['transA']);
  const k = a.shape.at(transposeA ? -2 : -1);
  const [m, n] = [shape.at(-2), shape.at(-1)];
  if (k === undefined || m === undefined || n === undefined || [...shape, k].some((length) => length < 1))
    return undefined;
  // One matrix for a whole batch: its rows are taken together.
  const rows = b.shape.length === 2 && !transposeA ? shape.slice(0, -1).reduce((x, y) => x * y, 1) : m;
  return { m: rows, k, n, dtype, transposeA };
}

function flag(attribute: GraphNode['attributes'][string] | undefined): boolean {
  return attribute !== undefined && 'int' in attribute && attribute.int !== 0;
}

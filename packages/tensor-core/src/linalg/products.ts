// Matrix products of a factorization: compiled once for all shapes, with the same bits for any number of threads. Everything that grows with the cube of the
// dimension goes through here.
import { OnnxGraph, OPEN_AXIS } from '../compile/graph.ts';
import { compileGraph } from '../compile/compile.ts';
import type { Program } from '../compile/compile.ts';
import { productThreads, type ProductShape } from '../compile/product-threads.ts';
import type { Device, HostArrays, HostTensor } from '../device/device.ts';

/** Products of at most this many multiplications run as plain loops: making a program ready costs more. */
export const PLAIN_PRODUCT_WORK = 2 ** 19;

/** Element types that matrices of linear algebra have. */
export type RealDType = 'f32' | 'f64';

/** A dense row-major operand, `rows` x `columns` as stored. */
export interface Operand<D extends RealDType> {
  /** Row-major values. */
  readonly data: HostArrays[D];
  /** As stored. */
  readonly rows: number;
  /** As stored. */
  readonly columns: number;
  /** Takes part as its transpose. */
  readonly transpose?: boolean;
}

/** What a product may be combined with. */
export interface ProductOptions<D extends RealDType> {
  /** Factor of the product; 1 when left out. */
  readonly scale?: number;
  /** Added to the scaled product: as long as the result. It is `into` itself or does not overlap it. */
  readonly add?: HostArrays[D];
  /** Receives the result; a new array when left out. */
  readonly into?: HostArrays[D];
}

/** Programs of each device, by what they compute. They take a few milliseconds to make, and are freed with the device. */
const programsOf = new WeakMap<Device, Map<string, Promise<Program>>>();

/** Matrix products on a device, in one element type. One program serves all shapes, whoever asks for it. */
export class Products<D extends RealDType> {
  /** Of operands and results. */
  readonly dtype: D;
  readonly #device: Device;
  readonly #plainWork: number;

  /** Products of at most `plainWork` multiplications run as plain loops. */
  constructor(device: Device, dtype: D, plainWork = PLAIN_PRODUCT_WORK) {
    this.#device = device;
    this.dtype = dtype;
    this.#plainWork = plainWork;
  }

  /**
   * scale * a b + add, row-major. Sums are f64 for f64 and in plain loops, and as the device sums otherwise (f32).
   */
  async multiply(a: Operand<D>, b: Operand<D>, options: ProductOptions<D> = {}): Promise<HostArrays[D]> {
    const [m, k] = a.transpose === true ? [a.columns, a.rows] : [a.rows, a.columns];
    const n = b.transpose === true ? b.rows : b.columns;
    if (m * k * n <= this.#plainWork) return plainProduct(this.dtype, a, b, options);
    // A single column has a path of its own in the runtime, which threads change; as a transposed row it has not.
    if (n === 1 && b.transpose !== true) {
      return this.multiply(a, { data: b.data, rows: 1, columns: k, transpose: true }, options);
    }
    const { scale = 1, add, into } = options;
    const threads = this.#threads({ m, k, n, dtype: this.dtype, transposeA: a.transpose === true });
    const program = await this.#program(a.transpose === true, b.transpose === true, scale, add !== undefined, threads);
    const tensor = (rows: number, columns: number, data: HostArrays[D]): HostTensor => ({
      dtype: this.dtype,
      shape: [rows, columns],
      data,
    });
    const inputs = {
      a: tensor(a.rows, a.columns, a.data),
      b: tensor(b.rows, b.columns, b.data),
      ...(add && { c: tensor(m, n, add) }),
    };
    const { y } = await program.run(inputs, into && { y: tensor(m, n, into) });
    return y!.data as HostArrays[D];
  }

  /** Ends the use. Programs stay with the device, for whoever multiplies next. */
  dispose(): Promise<void> {
    return Promise.resolve();
  }

  /** All threads, or the power of two below that leaves the sums as one thread has them: few programs are made. */
  #threads(shape: ProductShape): number {
    const { threads } = this.#device.limits;
    const most = productThreads(shape, threads);
    return most === threads ? threads : 2 ** Math.floor(Math.log2(most));
  }

  #program(transA: boolean, transB: boolean, scale: number, adds: boolean, threads: number): Promise<Program> {
    let programs = programsOf.get(this.#device);
    if (programs === undefined) programsOf.set(this.#device, (programs = new Map()));
    const key = `${this.dtype},${transA},${transB},${scale},${adds},${threads}`;
    let program = programs.get(key);
    if (program === undefined) {
      program = compileGraph(productGraph(this.dtype, transA, transB, scale, adds), this.#device, threads);
      programs.set(key, program);
      // What failed may be tried again.
      program.catch(() => programs.delete(key));
    }
    return program;
  }
}

function productGraph(dtype: RealDType, transA: boolean, transB: boolean, scale: number, adds: boolean): OnnxGraph {
  const graph = new OnnxGraph('matrix product');
  const any = [OPEN_AXIS, OPEN_AXIS];
  const inputs = ['a', 'b', ...(adds ? ['c'] : [])].map((name) => graph.input(name, dtype, any));
  const attributes = {
    alpha: { float: scale },
    transA: { int: Number(transA) },
    transB: { int: Number(transB) },
  };
  graph.output('y', graph.op('Gemm', inputs, { dtype, shape: any }, attributes));
  return graph;
}

/** The product as plain loops, with sums in f64: the specification of the compiled one. */
export function plainProduct<D extends RealDType>(
  dtype: D,
  a: Operand<D>,
  b: Operand<D>,
  options: ProductOptions<D> = {},
): HostArrays[D] {
  const [m, k] = a.transpose === true ? [a.columns, a.rows] : [a.rows, a.columns];
  const n = b.transpose === true ? b.rows : b.columns;
  const { scale = 1, add } = options;
  const into = options.into ?? ((dtype === 'f32' ? new Float32Array(m * n) : new Float64Array(m * n)) as HostArrays[D]);
  const [aRow, aStep] = a.transpose === true ? [1, a.columns] : [a.columns, 1];
  const row = new Float64Array(n);
  for (let i = 0; i < m; i++) {
    if (b.transpose === true) {
      for (let j = 0; j < n; j++) row[j] = dot(a.data, i * aRow, aStep, b.data, j * b.columns, k);
    } else {
      row.fill(0);
      for (let p = 0; p < k; p++) {
        const factor = a.data[i * aRow + p * aStep];
        const at = p * n;
        for (let j = 0; j < n; j++) row[j] += factor * b.data[at + j];
      }
    }
    const at = i * n;
    if (add === undefined) for (let j = 0; j < n; j++) into[at + j] = scale * row[j];
    else for (let j = 0; j < n; j++) into[at + j] = scale * row[j] + add[at + j];
  }
  return into;
}

function dot(
  a: HostArrays[RealDType],
  aAt: number,
  aStep: number,
  b: HostArrays[RealDType],
  bAt: number,
  length: number,
): number {
  let sum = 0;
  for (let p = 0; p < length; p++) sum += a[aAt + p * aStep] * b[bAt + p];
  return sum;
}

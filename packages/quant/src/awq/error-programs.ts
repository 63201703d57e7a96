// The output error of rounded weights, without outputs: with G = XᵀX and D = (what is rounded) - (what it was), the squared
// error of all outputs of a row is d G dᵀ. Rounding happens inside the compiled program, so that a candidate costs one
// product and no copy of the weight. The ranges are min and max of each group; scales are not rounded to their dtype
// here, which moves no choice.
import { compile, type Device, type HostTensor, type Program } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** How weights are rounded: integers, one scale per group of `groupSize` columns (all columns for one per channel). */
export interface GroupCoding {
  readonly bits: number;
  readonly symmetric: boolean;
  readonly groupSize: number;
}

/** Most weights of one run; more rows are cut. */
const MOST_WEIGHTS = 2 ** 23;

/** Rounds f32 [..., size] to nearest; `shrink` scales the range of each group before. */
export function fakeQuantizeGroups(values: Tensor, { bits, symmetric }: GroupCoding, shrink?: Tensor): Tensor {
  const most = (x: Tensor) => (shrink ? tf.mul(x, shrink) : x);
  const steps = 2 ** bits - 1;
  if (symmetric) {
    const magnitude = most(tf.max(tf.abs(values), -1, true));
    const scale = tf.maximum(tf.div(magnitude, steps / 2), 2 ** -126);
    const codes = tf.round(tf.div(values, scale));
    return tf.mul(tf.minimum(tf.maximum(codes, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1), scale);
  }
  const lowest = most(tf.minimum(tf.min(values, -1, true), 0));
  const highest = most(tf.maximum(tf.max(values, -1, true), 0));
  const scale = tf.maximum(tf.div(tf.sub(highest, lowest), steps), 2 ** -126);
  const zero = tf.round(tf.div(tf.neg(lowest), scale));
  const codes = tf.minimum(tf.maximum(tf.add(tf.round(tf.div(values, scale)), zero), 0), steps);
  return tf.mul(tf.sub(codes, zero), scale);
}

/** Programs for matrices of one number of columns, made when first used. Dispose them. */
export class ErrorPrograms {
  readonly #device: Device;
  readonly #coding: GroupCoding;
  readonly #columns: number;
  readonly #programs = new Map<string, Promise<Program>>();

  constructor(device: Device, coding: GroupCoding, columns: number) {
    this.#device = device;
    this.#coding = coding;
    this.#columns = columns;
  }

  /** True where groups are rounded without zero points. */
  get symmetric(): boolean {
    return this.#coding.symmetric;
  }

  /**
   * The output error of rounding `weights * scales` and dividing again.
   *
   * @param weights f32 [rows, columns].
   * @param scales f32 [columns].
   * @param gram f32 [columns, columns].
   * @returns f32 [rows].
   */
  async scaledErrors(weights: Float32Array, scales: Float32Array, gram: Float32Array): Promise<Float32Array> {
    const columns = this.#columns;
    const result = new Float32Array(weights.length / columns);
    for (const [start, rows] of this.#pieces(weights)) {
      const program = await this.#program(`scaled ${rows}`, () => this.#scaledProgram(rows));
      const { errors } = await program.run({
        w: matrix([rows, columns], weights.subarray(start * columns, (start + rows) * columns)),
        s: matrix([columns], scales),
        g: matrix([columns, columns], gram),
      });
      result.set(errors!.data as Float32Array, start);
    }
    return result;
  }

  /**
   * What `weights * scales` becomes, rounded and divided again.
   *
   * @returns f32 [rows, columns].
   */
  async restored(weights: Float32Array, scales: Float32Array): Promise<Float32Array> {
    const columns = this.#columns;
    const result = new Float32Array(weights.length);
    for (const [start, rows] of this.#pieces(weights)) {
      const program = await this.#program(`restored ${rows}`, () =>
        compile(
          ({ w, s }) => ({ restored: this.#restore(w!, s!, rows) }),
          { w: { shape: [rows, columns] }, s: { shape: [columns] } },
          this.#device,
          { name: 'awq-restored' },
        ),
      );
      const piece = weights.subarray(start * columns, (start + rows) * columns);
      const { restored } = await program.run({ w: matrix([rows, columns], piece), s: matrix([columns], scales) });
      result.set(restored!.data as Float32Array, start * columns);
    }
    return result;
  }

  /**
   * The squares d G dᵀ of the rows of a difference.
   *
   * @param difference f32 [rows, columns].
   * @returns f32 [rows].
   */
  async outputSquares(difference: Float32Array, gram: Float32Array): Promise<Float32Array> {
    const columns = this.#columns;
    const result = new Float32Array(difference.length / columns);
    for (const [start, rows] of this.#pieces(difference)) {
      const program = await this.#program(`difference ${rows}`, () =>
        compile(
          ({ d, g }) => ({ errors: quadratic(d!, g!) }),
          { d: { shape: [rows, columns] }, g: { shape: [columns, columns] } },
          this.#device,
          { name: 'output-error' },
        ),
      );
      const { errors } = await program.run({
        d: matrix([rows, columns], difference.subarray(start * columns, (start + rows) * columns)),
        g: matrix([columns, columns], gram),
      });
      result.set(errors!.data as Float32Array, start);
    }
    return result;
  }

  /**
   * Output errors of each group by itself where the ranges of all groups are shrunk by one factor.
   *
   * @param blocks f32 [groups, groupSize, groupSize], the blocks of the Gram matrix along its diagonal.
   * @returns f32 [rows, groups].
   */
  async shrunkErrors(weights: Float32Array, factor: number, blocks: Float32Array): Promise<Float32Array> {
    const columns = this.#columns;
    const { groupSize } = this.#coding;
    const groups = columns / groupSize;
    const result = new Float32Array((weights.length / columns) * groups);
    for (const [start, rows] of this.#pieces(weights)) {
      const program = await this.#program(`shrunk ${rows}`, () => this.#shrunkProgram(rows));
      const { errors } = await program.run({
        w: matrix([rows, groups, groupSize], weights.subarray(start * columns, (start + rows) * columns)),
        factor: matrix([1], Float32Array.of(factor)),
        g: matrix([groups, groupSize, groupSize], blocks),
      });
      result.set(errors!.data as Float32Array, start * groups);
    }
    return result;
  }

  /** Frees the programs. */
  async dispose(): Promise<void> {
    for (const program of this.#programs.values()) await (await program).dispose();
    this.#programs.clear();
  }

  #scaledProgram(rows: number): Promise<Program> {
    const columns = this.#columns;
    return compile(
      ({ w, s, g }) => ({ errors: quadratic(tf.sub(w!, this.#restore(w!, s!, rows)), g!) }),
      { w: { shape: [rows, columns] }, s: { shape: [columns] }, g: { shape: [columns, columns] } },
      this.#device,
      { name: 'awq-scaled-error' },
    );
  }

  #restore(weights: Tensor, scales: Tensor, rows: number): Tensor {
    const { groupSize } = this.#coding;
    const groups = tf.reshape(tf.mul(weights, scales), [rows, this.#columns / groupSize, groupSize]);
    return tf.div(tf.reshape(fakeQuantizeGroups(groups, this.#coding), [rows, this.#columns]), scales);
  }

  #shrunkProgram(rows: number): Promise<Program> {
    const { groupSize } = this.#coding;
    const groups = this.#columns / groupSize;
    return compile(
      ({ w, factor, g }) => {
        const difference = tf.sub(fakeQuantizeGroups(w!, this.#coding, factor), w!);
        const byGroup = tf.transpose(difference, [1, 0, 2]);
        const errors = tf.sum(tf.mul(tf.matMul(byGroup, g!), byGroup), -1);
        return { errors: tf.transpose(errors, [1, 0]) };
      },
      {
        w: { shape: [rows, groups, groupSize] },
        factor: { shape: [1] },
        g: { shape: [groups, groupSize, groupSize] },
      },
      this.#device,
      { name: 'awq-shrunk-errors' },
    );
  }

  #program(key: string, make: () => Promise<Program>): Promise<Program> {
    let program = this.#programs.get(key);
    if (program === undefined) this.#programs.set(key, (program = make()));
    return program;
  }

  /** First row and rows of each run. */
  *#pieces({ length }: Float32Array): Generator<readonly [start: number, rows: number]> {
    const rows = length / this.#columns;
    const step = Math.max(1, Math.floor(MOST_WEIGHTS / this.#columns));
    for (let start = 0; start < rows; start += step) yield [start, Math.min(step, rows - start)];
  }
}

/** d G dᵀ for each row of d: f32 [rows]. */
function quadratic(d: Tensor, g: Tensor): Tensor {
  return tf.sum(tf.mul(tf.matMul(d as tf.Tensor2D, g as tf.Tensor2D), d), -1);
}

function matrix(shape: readonly number[], data: Float32Array): HostTensor<'f32'> {
  return { dtype: 'f32', shape, data };
}

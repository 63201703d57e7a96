// Who decides scales while columns are swept: GPTQ's answer, for GPTQ itself and for SparseGPT where it prunes and quantizes
// in one pass.
import {
  groupsPerRow,
  memoryBlock,
  quantizedWeight,
  type ColumnRounding,
  type ColumnSpan,
  type DType,
  type IntegerScheme,
  type PoolBlock,
  type QuantizedWeight,
  type RoundingRun,
  type RoundingTarget,
} from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import { searchNorm, shrinkFactors } from '../range/search.ts';
import { isQuantizable, resolveScheme } from '../scheme/resolve-scheme.ts';
import { ColumnScales } from './column-scales.ts';
import { gptqConfig, type GptqConfig, type GptqOptions } from './gptq-config.ts';

/**
 * GPTQ's choice of scales as a `ColumnRounding`. Scales are rounded to their dtype before any column is, so that codes
 * belong to the scales that are stored.
 *
 * A group's scale comes from its columns as they are when the sweep reaches it; with `actOrder: 'weight'` and an order, from
 * the weights before any column was rounded.
 *
 * @throws PithError `CONFIG_INVALID` with every offending option.
 */
export function gptqRounding(given: GptqOptions): ColumnRounding {
  return roundingOf(gptqConfig(given));
}

/** {@link gptqRounding} of a configuration. */
export function roundingOf(config: GptqConfig): ColumnRounding {
  const scheme = (dtype: DType): IntegerScheme =>
    resolveScheme(config.scheme, isQuantizable(dtype) ? dtype : 'f32') as IntegerScheme;
  return {
    config: { ...config },
    scheme,
    begin: async (target, pool, signal) => {
      const run = new GptqRun(config, scheme(target.dtype), target, pool, signal);
      if (run.frozen) await run.chooseAll();
      return run;
    },
  };
}

class GptqRun implements RoundingRun {
  readonly span: number;
  /** Scales were chosen before the sweep. */
  readonly frozen: boolean;
  readonly #config: GptqConfig;
  readonly #scheme: IntegerScheme;
  readonly #target: RoundingTarget;
  readonly #pool: KernelPool;
  readonly #signal: AbortSignal | undefined;
  readonly #size: number;
  /** [groups][rows]. */
  readonly #scales: Float32Array[];
  readonly #zeros: Float32Array[];
  readonly #importance: Float32Array | undefined;

  constructor(
    config: GptqConfig,
    scheme: IntegerScheme,
    target: RoundingTarget,
    pool: KernelPool,
    signal: AbortSignal | undefined,
  ) {
    const { rows, columns, order, importance } = target;
    const groups = groupsPerRow(scheme.granularity, columns, target.name);
    this.#config = config;
    this.#scheme = scheme;
    this.#target = target;
    this.#pool = pool;
    this.#signal = signal;
    this.#size = columns / groups;
    this.frozen = groups > 1 && order !== undefined && config.actOrder === 'weight';
    this.span = this.frozen ? columns : this.#size;
    this.#scales = Array.from({ length: groups }, () => new Float32Array(rows));
    this.#zeros = Array.from({ length: groups }, () => new Float32Array(rows));
    this.#importance = config.importance === 'hessian' && importance ? relative(importance) : undefined;
  }

  /** Chooses the scales of all groups, as the columns lie in the weight, before any is rounded. */
  async chooseAll(): Promise<void> {
    const { rows, columns } = this.#target;
    const weights = await this.#target.weights();
    const chooser = this.#chooser();
    try {
      for (const group of this.#scales.keys()) {
        const [first, last] = [group * this.#size, (group + 1) * this.#size];
        const into = { scales: this.#scales[group]!, zeros: this.#zeros[group]! };
        const importance = this.#importance?.subarray(first, last);
        await chooser.choose({ rows, columns, values: weights }, [first, last], importance, into, this.#signal);
      }
    } finally {
      chooser.free();
    }
  }

  async decide(span: ColumnSpan, block: PoolBlock, at: number) {
    const { rows, order } = this.#target;
    const [low, high] = [-(2 ** (this.#scheme.bits - 1)), 2 ** (this.#scheme.bits - 1) - 1];
    const { from, to } = span.part;
    if (this.frozen) {
      for (let j = from; j < to; j++) {
        const group = Math.floor(order![span.first + j]! / this.#size);
        block.scales.set(this.#scales[group]!, (at + j - from) * rows);
        block.zeros.set(this.#zeros[group]!, (at + j - from) * rows);
      }
      return { low, high, perColumn: true };
    }
    const group = span.first / this.#size;
    const [scales, zeros] = [this.#scales[group]!, this.#zeros[group]!];
    if (from === 0) {
      const chooser = this.#chooser();
      try {
        const importance = this.#importanceOf(span);
        const source = { rows, columns: this.#size, values: await span.weights() };
        await chooser.choose(source, [0, this.#size], importance, { scales, zeros }, this.#signal);
      } finally {
        chooser.free();
      }
    }
    block.scales.set(scales);
    block.zeros.set(zeros);
    return { low, high };
  }

  finish(codes: Int8Array): QuantizedWeight {
    const { name, rows, columns, order } = this.#target;
    const scheme = this.#scheme;
    const groups = this.#scales.length;
    const scales = new Float32Array(rows * groups);
    const zeroPoints = new Int8Array(scheme.symmetric ? 0 : rows * groups);
    for (let g = 0; g < groups; g++) {
      for (let r = 0; r < rows; r++) scales[r * groups + g] = this.#scales[g]![r]!;
      if (!scheme.symmetric) for (let r = 0; r < rows; r++) zeroPoints[r * groups + g] = this.#zeros[g]![r]!;
    }
    const block = {
      codes,
      scales,
      ...(scheme.symmetric ? {} : { zeroPoints }),
    };
    const moved = order !== undefined && groups > 1 && !this.frozen;
    const groupIndex = new Int32Array(moved ? columns : 0);
    if (moved) order.forEach((column, i) => (groupIndex[column] = Math.floor(i / this.#size)));
    const read = memoryBlock(block, scheme, rows, columns);
    return quantizedWeight({ name, shape: [rows, columns], scheme, read, ...(moved && { groupIndex }) });
  }

  /** Importance of the columns of a span, which lie where the order says. */
  #importanceOf({ first, last }: ColumnSpan): Float32Array | undefined {
    const { order } = this.#target;
    const all = this.#importance;
    if (all === undefined || order === undefined) return all?.subarray(first, last);
    return Float32Array.from(order.subarray(first, last), (column) => all[column]!);
  }

  #chooser(): ColumnScales {
    const { range } = this.#config;
    const searches = range.kind === 'mse' || range.kind === 'lp';
    const search = {
      scheme: this.#scheme,
      absolute: range.kind === 'absmax',
      factors: searches ? shrinkFactors(range) : Float32Array.of(1),
      norm: searches ? searchNorm(range) : 2,
    };
    return new ColumnScales(this.#pool, search, this.#target.name);
  }
}

/** Importance as f32 with the largest at 1; dead columns count nothing. */
function relative(importance: Float64Array): Float32Array {
  const largest = importance.reduce((a, b) => Math.max(a, b), 0);
  return Float32Array.from(importance, (value) => (largest > 0 ? value / largest : 1));
}

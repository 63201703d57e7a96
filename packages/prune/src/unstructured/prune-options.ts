// What can be asked of unstructured and n:m pruning, and what it defaults to.
import { isPithError, validate, type ColumnRounding } from '@pith/tensor-core';
import { moduleMatcher } from '@pith/model';
import * as z from 'zod';
import type { Comparison } from '../pattern/mask.ts';
import { parsePattern, sparsityOf, type SparsityPattern } from '../pattern/pattern.ts';

/** How weights are ranked. */
export const PRUNE_METHODS = ['magnitude', 'wanda', 'taylor', 'sparsegpt'] as const;

/** How weights are ranked, see {@link PruneOptions.method}. */
export type PruneMethod = (typeof PRUNE_METHODS)[number];

/** Columns of a block of SparseGPT where nothing else is asked for, as in the paper. */
export const SPARSEGPT_BLOCK_COLUMNS = 128;
/** Damping of SparseGPT where nothing else is asked for: share of the mean of the Gram matrix's diagonal. */
export const SPARSEGPT_DAMPING = 0.01;

/** What is pruned, and how. */
export interface PruneOptions {
  /**
   * `magnitude`: |w|, without calibration. `wanda`: |w| times the norm of its input. `taylor`: |w times its gradient|.
   * `sparsegpt`: what the output loses when the other weights of the row make up for it, which they then do.
   */
  readonly method: PruneMethod;
  /** Share of weights that go, 0 to 1, 1 excluded; counts are rounded down. May be left out beside a pattern. */
  readonly sparsity?: number;
  /** `2:4`: 2 weights of each 4 neighbours in a row stay. Any share of each comparison when left out. */
  readonly pattern?: string;
  /**
   * Which weights of a share are compared: those of a `row` (output channel), or of the `layer` (all of a weight matrix).
   * `row` for wanda, `layer` for magnitude and taylor when left out; sparsegpt compares within blocks of columns.
   */
  readonly comparison?: Comparison;
  /** Patterns of linears that are pruned, see `moduleMatcher`; all linears of the blocks when left out. */
  readonly include?: readonly string[];
  /** Patterns of linears that are left alone; stronger than `include`. */
  readonly ignore?: readonly string[];
  /** Of sparsegpt: added to the diagonal of the Gram matrix, as a share of its mean; 0.01 when left out. */
  readonly damping?: number;
  /** Of sparsegpt: columns whose weights are compared with one another; 128 when left out. */
  readonly blockColumns?: number;
  /** Of sparsegpt: quantizes what stays in the same sweep. Pruned weights get the code of zero. */
  readonly rounding?: ColumnRounding;
}

/** Validated options with every default filled in; frozen, JSON only. */
export interface PruneConfig {
  /** See {@link PruneOptions.method}. */
  readonly method: PruneMethod;
  /** What of a weight is to go. */
  readonly pattern: SparsityPattern;
  /** See {@link PruneOptions.comparison}; null for n:m patterns and sparsegpt. */
  readonly comparison: Comparison | null;
  /** Patterns; empty: every linear of the blocks. */
  readonly include: readonly string[];
  /** Patterns. */
  readonly ignore: readonly string[];
  /** Of sparsegpt; null for others. */
  readonly damping: number | null;
  /** Of sparsegpt; null for others. */
  readonly blockColumns: number | null;
  /** What the rounding of sparsegpt records of itself; null without one. */
  readonly rounding: Readonly<Record<string, unknown>> | null;
}

const patterns = z.array(z.string().superRefine(refused(moduleMatcher))).default([]);

const schema = z
  .strictObject({
    method: z.enum(PRUNE_METHODS),
    sparsity: z.number().min(0).lt(1).exactOptional(),
    pattern: z.string().superRefine(refused(parsePattern)).exactOptional(),
    comparison: z.enum(['row', 'layer']).exactOptional(),
    include: patterns,
    ignore: patterns,
    damping: z.number().min(0).max(1).exactOptional(),
    blockColumns: z.int().min(1).max(4096).exactOptional(),
    rounding: z.boolean(),
  })
  .superRefine((value, context) => {
    const refuse = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
    const { method, sparsity, pattern, comparison, damping, blockColumns, rounding } = value;
    if (pattern === undefined && sparsity === undefined) {
      refuse('sparsity', 'must be given, or a pattern such as "2:4"');
    }
    if (pattern !== undefined && sparsity !== undefined) {
      const given = sparsityOf(parsePattern(pattern));
      if (Math.abs(given - sparsity) > 1e-9) {
        refuse('sparsity', `must be ${given} with the pattern "${pattern}", or left out, got ${sparsity}`);
      }
    }
    if (comparison !== undefined && pattern !== undefined) {
      refuse('comparison', 'is for a share of weights; an n:m pattern compares within its runs: leave one of them out');
    } else if (comparison !== undefined && method === 'sparsegpt') {
      refuse('comparison', 'is not for sparsegpt, which compares within blocks of columns: leave it out');
    }
    if (method === 'sparsegpt') return;
    if (damping !== undefined) refuse('damping', `is for sparsegpt, not for ${method}: leave it out`);
    if (blockColumns !== undefined) refuse('blockColumns', `is for sparsegpt, not for ${method}: leave it out`);
    if (rounding) refuse('rounding', `is for sparsegpt, not for ${method}: quantize in a stage of its own`);
  });

/**
 * Checks options and fills in defaults.
 *
 * @throws PithError `CONFIG_INVALID` with every offender.
 */
export function pruneConfig({ rounding, ...options }: PruneOptions): PruneConfig {
  const checked = validate(schema, { ...options, rounding: rounding !== undefined }, { operation: 'prune options' });
  const { method, include, ignore } = checked;
  const pattern: SparsityPattern =
    checked.pattern === undefined
      ? Object.freeze({ kind: 'unstructured' as const, sparsity: checked.sparsity! })
      : parsePattern(checked.pattern);
  const obs = method === 'sparsegpt';
  const free = pattern.kind === 'unstructured' && !obs;
  return Object.freeze({
    method,
    pattern,
    comparison: free ? (checked.comparison ?? (method === 'wanda' ? 'row' : 'layer')) : null,
    include,
    ignore,
    damping: obs ? (checked.damping ?? SPARSEGPT_DAMPING) : null,
    blockColumns: obs ? (checked.blockColumns ?? SPARSEGPT_BLOCK_COLUMNS) : null,
    rounding: rounding?.config ?? null,
  });
}

/** Makes the error of a parser one of the offenders. */
function refused(parse: (text: string) => unknown) {
  return (text: string, context: z.core.$RefinementCtx<string>): void => {
    try {
      parse(text);
    } catch (error) {
      if (!isPithError(error)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
    }
  };
}

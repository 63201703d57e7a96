// The configuration of decompositions across stacks of matrices: a union by method, validated once.
import { validate } from '@pith/tensor-core';
import { z } from 'zod';
import { patterns, share } from '../factorize/factorize-config.ts';

const rank = z.int().min(1);
const common = {
  stack: z.enum(['layers', 'heads']).default('layers'),
  ratio: share.exactOptional(),
  tolerance: z.number().gte(0).lt(1).exactOptional(),
  include: patterns,
  ignore: patterns,
  dtype: z.enum(['f32', 'f16', 'bf16']).exactOptional(),
};
const schema = z.discriminatedUnion('method', [
  z.strictObject({
    method: z.literal('tucker'),
    ...common,
    ranks: z.tuple([rank, rank, rank]).exactOptional(),
    iterations: z.int().min(0).max(10_000).default(25),
  }),
  z.strictObject({
    method: z.literal('cp'),
    ...common,
    rank: rank.exactOptional(),
    iterations: z.int().min(1).max(100_000).default(200),
    starts: z.int().min(1).max(1000).default(1),
  }),
]);

/** What both methods share. */
export interface DecomposeCommonOptions {
  /**
   * What is stacked: `layers`, the matrices of one role in all layers; `heads`, the heads of each attention matrix. `layers`
   * when left out.
   */
  readonly stack?: 'layers' | 'heads';
  /** Share of the stored parameters that goes, of each matrix. */
  readonly ratio?: number;
  /** A decomposition ends when a round lowers its relative error by less than this. */
  readonly tolerance?: number;
  /** Patterns of the linears that are stacked (see `moduleMatcher`); all linears of the blocks when left out. */
  readonly include?: readonly string[];
  /** Patterns of linears that are left alone; stronger than `include`. */
  readonly ignore?: readonly string[];
  /** Dtype of what is stored; the weight's own when left out. */
  readonly dtype?: 'f32' | 'f16' | 'bf16';
}

/** Tucker decomposition by HOSVD and HOOI. Either `ratio` or `ranks` is given. */
export interface TuckerDecomposeOptions extends DecomposeCommonOptions {
  /** Tells the union apart. */
  readonly method: 'tucker';
  /** Ranks of the stack, of rows and of columns. */
  readonly ranks?: readonly [number, number, number];
  /** Most rounds of HOOI, 0 for HOSVD alone; 25 when left out. */
  readonly iterations?: number;
}

/** CP decomposition by alternating least squares. Either `ratio` or `rank` is given. */
export interface CpDecomposeOptions extends DecomposeCommonOptions {
  /** Tells the union apart. */
  readonly method: 'cp';
  /** Terms. */
  readonly rank?: number;
  /** Most rounds of each start; 200 when left out. */
  readonly iterations?: number;
  /** Starts, of which the best counts; 1 when left out. */
  readonly starts?: number;
}

/** What `decomposeTransform` takes. */
export type DecomposeOptions = TuckerDecomposeOptions | CpDecomposeOptions;

/** Validated options, frozen, defaults filled in. */
export type DecomposeConfig = Readonly<z.output<typeof schema>>;

/**
 * Validates options, fills in defaults and freezes the result.
 *
 * @throws PithError `DECOMPOSE_OPTIONS` naming every bad option
 */
export function decomposeConfig(given: DecomposeOptions): DecomposeConfig {
  const checked = schema.superRefine((value, context) => {
    const own = value.method === 'tucker' ? 'ranks' : 'rank';
    const asked = value.method === 'tucker' ? value.ranks : value.rank;
    if ((value.ratio === undefined) === (asked === undefined)) {
      const message =
        value.ratio === undefined ? `or ${own} must be given, neither is` : `contradicts ${own}; give one of them`;
      context.addIssue({ code: 'custom', path: ['ratio'], message });
    }
  });
  return validate(checked, given, { operation: 'decompose options', code: 'DECOMPOSE_OPTIONS' });
}

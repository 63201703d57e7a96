// Half-quadratic quantization as a pass over the blocks. It looks at weights alone: no text, no statistics. What comes out has
// offsets in floating point, which MLX and HQQ store.
import {
  factoredWeight,
  quantizedByteLength,
  quantizedWeight,
  memoryBlock,
  validate,
  type DenseWeight,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import { linearSelector, type BlockPass, type WeightChange } from '@pith/model';
import { z } from 'zod';
import {
  mixedRoundingShape,
  schemeOfLinears,
  schemeRules,
  selectionOf,
  withScaleDType,
  type MixedRoundingOptions,
} from '../pass/pass-options.ts';
import { planRounding } from '../pass/plan-rounding.ts';
import { requireRoundable } from '../pass/round-weight.ts';
import type { SchemeRule } from '../scheme/scheme-rules.ts';
import type { Scheme } from '../scheme/scheme.ts';
import { hqqScheme, roundHqq, type HqqCoding } from './round.ts';
import { HQQ_SEARCH, type HqqSearch } from './solve.ts';

/** Options of {@link hqqPass}. */
export interface HqqOptions extends MixedRoundingOptions {
  /** Exponent of the norm of the errors, above 0, at most 1; 0.7 when left out. */
  readonly norm?: number;
  /** Most iterations; 20 when left out. */
  readonly iterations?: number;
}

/** Validated {@link HqqOptions} with every default filled in; frozen. */
export interface HqqConfig {
  /** Tells methods apart. */
  readonly method: 'hqq';
  /** How weights are coded. */
  readonly scheme: Scheme;
  /** How those of modules that match a pattern are coded. */
  readonly schemeFor: readonly SchemeRule[];
  /** How zero points are searched. */
  readonly search: HqqSearch;
  /** Patterns; empty: every linear layer of the blocks. */
  readonly include: readonly string[];
  /** Patterns. */
  readonly ignore: readonly string[];
}

const options = z
  .strictObject({
    ...mixedRoundingShape,
    norm: z.number().positive().max(1).default(HQQ_SEARCH.norm),
    iterations: z.int().min(1).max(1000).default(HQQ_SEARCH.iterations),
  })
  .superRefine(({ scheme: all, schemeFor }, context) => {
    for (const [pattern, scheme] of [['', all] as const, ...Object.entries(schemeFor)]) {
      const problem = (message: string) =>
        void context.addIssue({
          code: 'custom',
          path: [pattern === '' ? 'scheme' : `schemeFor.${pattern}`],
          message: `${message}, got "${scheme.name}"; name one like w4g64-asym`,
        });
      const { weights, activations } = scheme;
      if (weights.kind !== 'int') problem('must code weights as integers');
      else if (weights.symmetric) problem('must have zero points, which are what is searched');
      else if (weights.granularity.kind !== 'group') problem('must have groups');
      if (activations !== undefined) problem('must leave activations alone');
    }
  });

/**
 * Half-quadratic quantization of the linears of all blocks, dense ones and the factors of factored ones.
 *
 * Records per tensor: `mse` and `signalToNoise` (dB) of the weights.
 *
 * @throws PithError `CONFIG_INVALID` with every offending option.
 */
export function hqqPass(given: HqqOptions): BlockPass {
  const { scheme, schemeFor, scaleDType, norm, iterations, ...rest } = validate(options, given, {
    operation: 'hqq options',
  });
  const config: HqqConfig = Object.freeze({
    method: 'hqq',
    scheme: withScaleDType(scheme, scaleDType),
    schemeFor: schemeRules(schemeFor, scaleDType),
    search: Object.freeze({ ...HQQ_SEARCH, norm, iterations }),
    ...rest,
  });
  const selected = linearSelector(selectionOf(config));
  const schemeOf = schemeOfLinears(config);
  const codingOf = (own: Scheme): HqqCoding => {
    const { bits, granularity } = own.weights as Extract<Scheme['weights'], { kind: 'int' }>;
    const { size } = granularity as Extract<typeof granularity, { kind: 'group' }>;
    const { search } = config;
    return { bits, groupSize: size, search, ...(own.scaleDType && { scaleDType: own.scaleDType }) };
  };
  return {
    name: 'hqq',
    config: { ...config },
    plan: (model) => {
      const { changes, problems, notices } = planRounding(model, config, `hqq, ${config.scheme.name}`);
      return { changes: changes.map(withOffsets), problems, notices };
    },
    needs: () => [],
    apply: async (stage) => {
      const weights = new Map<string, WeightTensor>();
      const records: Record<string, Readonly<Record<string, unknown>>> = {};
      for (const linear of stage.linears.filter(selected)) {
        const { name } = linear;
        const coding = codingOf(schemeOf(linear));
        const weight = requireRoundable(name, stage.weights.get(name));
        if (weight.kind === 'dense') {
          const made = await rounded(weight, coding);
          weights.set(name, made.weight);
          records[name] = made.record;
        } else {
          const [left, right] = [await rounded(weight.left, coding), await rounded(weight.right, coding)];
          weights.set(name, factoredWeight({ name, left: left.weight, right: right.weight }));
          records[name] = { left: left.record, right: right.record };
        }
      }
      return { weights, records, interventions: [] };
    },
  };
}

/** A weight rounded once, and how it differs. */
async function rounded(weight: DenseWeight, coding: HqqCoding) {
  const lazy = roundHqq(weight, coding);
  const { name, shape, scheme } = lazy;
  const [rows = 0, columns = 0] = shape;
  const block = await lazy.block();
  const made: QuantizedWeight = quantizedWeight({
    name,
    shape,
    scheme,
    read: memoryBlock(block, scheme, rows, columns),
  });
  const [before, after] = [await weight.toF32(), await made.toF32()];
  let [noise, signal] = [0, 0];
  for (let i = 0; i < before.length; i += 1) {
    noise += (before[i]! - after[i]!) ** 2;
    signal += before[i]! ** 2;
  }
  // JSON has no Infinity: nothing differs.
  const signalToNoise = noise === 0 ? null : 10 * Math.log10(signal / noise);
  return { weight: made, record: { mse: noise / before.length, signalToNoise } };
}

/** A planned weight with offsets in floating point in place of zero points. */
function withOffsets(change: WeightChange): WeightChange {
  const { after } = change;
  if (after?.scheme?.kind !== 'int' || after.scheme.granularity.kind !== 'group') return change;
  const { bits, granularity, scaleDType } = after.scheme;
  const scheme = hqqScheme({ bits, groupSize: granularity.size }, scaleDType);
  const [rows = 0, columns = 0] = after.shape;
  const { rank } = after;
  const bytes = (r: number, c: number) => quantizedByteLength(scheme, r, c);
  const byteLength = rank === undefined ? bytes(rows, columns) : bytes(rows, rank) + bytes(rank, columns);
  return { ...change, after: { ...after, scheme, byteLength } };
}

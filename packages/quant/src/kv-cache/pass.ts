// Scales for keys and values that a runtime keeps in 8 bits (`kv_cache_scheme` of compressed-tensors), as a pass over the blocks
// that rewrites no weight: it looks at what the rewritten block keeps of the calibration text.
//
// Calibration itself runs with keys and values as they are, as it leaves activations alone; evaluation rounds them.
import { PithError, validate } from '@pith/tensor-core';
import { keyValueScaleNames } from '@pith/model';
import type { BlockPass, BlockSpec, KeyValueForm, KeyValueRanges, KeyValueResult, PlannedModel } from '@pith/model';
import { z } from 'zod';
import { keptScales } from './scales.ts';

/** Names of schemes of keys and values. */
export const KV_CACHE_SCHEMES = ['fp8', 'int8', 'fp8-head', 'int8-head'] as const;

/** What a caller asks for. */
export interface KvCacheOptions {
  /**
   * `fp8` (e4m3) or `int8`, with one scale for the keys and one for the values of a block; `-head`: with one for each key-value
   * head. `fp8` when left out.
   */
  readonly scheme?: (typeof KV_CACHE_SCHEMES)[number];
}

const options = z.strictObject({ scheme: z.enum(KV_CACHE_SCHEMES).default('fp8') });

/**
 * Calibrates the scales of kept keys and values. Needs a calibration text, and comes last.
 *
 * Records per scale: `scale`, `smallest` and `largest` value.
 *
 * @throws PithError `CONFIG_INVALID`.
 */
export function kvCachePass(given: KvCacheOptions = {}): BlockPass {
  const { scheme } = validate(options, given, { operation: 'kv-cache options' });
  const form: KeyValueForm = Object.freeze({
    dtype: scheme.startsWith('fp8') ? 'f8_e4m3' : 'i8',
    granularity: scheme.endsWith('-head') ? 'head' : 'tensor',
  });
  return {
    name: 'kv-cache',
    config: Object.freeze({ method: 'kv-cache', scheme }),
    plan: (model) => plan(model, form, scheme),
    needs: () => [],
    keyValues: { ...form, scales: (ranges) => scalesOf(ranges, form) },
    apply: () => Promise.resolve({ weights: new Map(), records: {}, interventions: [] }),
  };
}

function scalesOf(ranges: KeyValueRanges, form: KeyValueForm): KeyValueResult {
  const of = (part: keyof KeyValueRanges) => {
    const { min, max } = ranges[part];
    const scales = keptScales(ranges[part], form);
    return {
      scales,
      record: { scale: [...scales], smallest: Math.min(...min), largest: Math.max(...max) },
    };
  };
  const [keys, values] = [of('keys'), of('values')];
  return {
    scales: { keys: keys.scales, values: values.scales },
    records: { keys: keys.record, values: values.record },
  };
}

function plan({ architecture, weights }: PlannedModel, form: KeyValueForm, scheme: string) {
  const { config, blocks } = architecture;
  const problem = (code: string, message: string) => ({
    changes: [],
    problems: [{ code, name: 'kv-cache', message }],
    notices: [],
  });
  if (config.kind !== 'decoder') {
    return problem(
      'KV_CACHE_NONE',
      `plan: ${config.modelType} keeps no keys and values of earlier tokens; leave it out`,
    );
  }
  const without = blocks.filter((block) => keyValueScaleNames(block) === undefined);
  if (without.length > 0) {
    return problem(
      'KV_CACHE_UNSUPPORTED',
      `plan: runtimes find scales of keys and values beside linears called k_proj, v_proj or qkv_proj, ${config.modelType} has ` +
        `none of them (${without[0]!.path}); leave it out`,
    );
  }
  const reason = (part: string) => `kv-cache, ${scheme}: scale of the ${part} that a runtime keeps`;
  return {
    changes: [],
    problems: [],
    notices: [],
    keyValueCache: {
      ...form,
      scaleDType: scaleDTypeOf(blocks, weights),
      reasons: new Map(
        blocks.flatMap((block) => {
          const names = keyValueScaleNames(block)!;
          return [[names.keys, reason('keys')] as const, [names.values, reason('values')] as const];
        }),
      ),
    },
  };
}

/** The dtype of the model's first linear, which is what compressed-tensors stores the scales in. */
function scaleDTypeOf(blocks: readonly BlockSpec[], weights: PlannedModel['weights']): 'f32' | 'f16' | 'bf16' {
  const dtype = weights.get(blocks[0]?.linears[0]?.name ?? '')?.dtype;
  if (dtype === 'f32' || dtype === 'f16' || dtype === 'bf16') return dtype;
  if (dtype !== undefined) return 'f32';
  throw new PithError('TENSOR_MISSING', 'plan kv-cache: the model has no linear layers', { kind: 'internal' });
}

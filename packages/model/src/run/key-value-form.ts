// Keys and values as a runtime codes them when it keeps them of earlier tokens (`kv_cache_scheme` of compressed-tensors): with
// static scales, one for all heads of a block or one for each. Keys are coded after the rotary embedding, as they lie in
// the cache; scores and sums are computed with what comes back.
//
// Simplified on purpose: queries are never coded, and there are no zero points, which no runtime has here.
//
// Source: compressed-tensors 0.19, `modeling/kvcache.py` and `quantization/lifecycle/initialize.py`.
import { denseWeight, fromF32, memoryBytes, PithError, type DenseWeight, type HostTensor } from '@pith/tensor-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import type { BlockSpec, KeptPart } from '../architecture/architecture.ts';
import type { ModelConfig } from '../config/model-config.ts';
import type { ExpectedTensor } from '../architecture/expected-tensors.ts';
import { roundToCodes } from './fake-activations.ts';

/** How kept keys and values are coded. */
export interface KeyValueForm {
  /** What they are rounded to. */
  readonly dtype: 'f8_e4m3' | 'i8';
  /** One scale for all heads of a block, or one for each key-value head. */
  readonly granularity: 'tensor' | 'head';
}

/** How a model's kept keys and values are coded, with the scales that calibration found. */
export interface KeyValueQuantization extends KeyValueForm {
  /** Dtype in which the scales are stored. */
  readonly scaleDType: 'f32' | 'f16' | 'bf16';
  /** By checkpoint name, f32 [1], or [keyValueHeads] with a scale for each head. Two for each block. */
  readonly scales: ReadonlyMap<string, Float32Array>;
}

/** Names of the linears whose module compressed-tensors takes for an attention that keeps keys and values. */
const PROJECTIONS = ['k_proj', 'v_proj', 'qkv_proj'];

/**
 * Names of the scales of a block, `model.layers.0.self_attn.k_scale`; undefined where runtimes look for none: compressed-tensors
 * knows attention by linears called k_proj, v_proj or qkv_proj.
 */
export function keyValueScaleNames({ linears }: BlockSpec): Readonly<Record<KeptPart, string>> | undefined {
  const found = linears.find(({ path }) => PROJECTIONS.some((name) => path.endsWith(`.${name}`)));
  if (found === undefined) return undefined;
  const module = found.path.slice(0, found.path.lastIndexOf('.'));
  return { keys: `${module}.k_scale`, values: `${module}.v_scale` };
}

/** The scales of a block as its program takes them: [1], or [1, keyValueHeads, 1, 1]. */
export function keyValueInputs(
  block: BlockSpec,
  form: KeyValueForm | null | undefined,
  { keyValueHeads }: Pick<ModelConfig, 'keyValueHeads'>,
): ExpectedTensor[] {
  const names = form && keyValueScaleNames(block);
  if (!names) return [];
  const shape = form?.granularity === 'head' ? [1, keyValueHeads, 1, 1] : [1];
  return [names.keys, names.values].map((name) => ({ name, shape }));
}

/** Rounds and restores keys or values f32 [batch, keyValueHeads, tokens, headDim]. */
export function fakeQuantizeKept(x: Tensor, scale: Tensor, { dtype }: KeyValueForm): Tensor {
  return tf.reshape(roundToCodes(x, scale, dtype), x.shape);
}

/** The scales of a block for {@link keyValueInputs}. */
export function keyValueScales(
  block: BlockSpec,
  kept: KeyValueQuantization | null | undefined,
  config: Pick<ModelConfig, 'keyValueHeads'>,
): Record<string, HostTensor<'f32'>> {
  if (!kept) return {};
  return Object.fromEntries(
    keyValueInputs(block, kept, config).map(({ name, shape }) => [
      name.slice(block.path.length + 1),
      { dtype: 'f32' as const, shape, data: kept.scales.get(name)! },
    ]),
  );
}

/** The scales as stored tensors: [1], or [keyValueHeads, 1, 1]. */
export function keyValueWeights({ granularity, scaleDType, scales }: KeyValueQuantization): DenseWeight[] {
  return [...scales].map(([name, values]) =>
    denseWeight({
      name,
      dtype: scaleDType,
      shape: granularity === 'head' ? [values.length, 1, 1] : [1],
      source: memoryBytes(fromF32(scaleDType, values)),
    }),
  );
}

/**
 * Checks that every block has its two scales.
 *
 * @throws PithError `KV_SCALES_MISMATCH` with all offenders.
 */
export function checkKeyValueScales(
  { scales, granularity }: KeyValueQuantization,
  blocks: readonly BlockSpec[],
  { keyValueHeads }: Pick<ModelConfig, 'keyValueHeads'>,
): void {
  const length = granularity === 'head' ? keyValueHeads : 1;
  const problems: string[] = [];
  const expected = new Set<string>();
  for (const block of blocks) {
    const names = keyValueScaleNames(block);
    if (names === undefined) problems.push(`${block.path} keeps none that runtimes code`);
    for (const name of Object.values(names ?? {})) {
      expected.add(name);
      const values = scales.get(name);
      if (values === undefined) problems.push(`${name} is missing`);
      else if (values.length !== length) problems.push(`${name} has ${values.length} values for ${length}`);
      else if (!values.every((value) => value > 0 && Number.isFinite(value)))
        problems.push(`${name} is not positive and finite`);
    }
  }
  for (const name of scales.keys()) if (!expected.has(name)) problems.push(`${name} belongs to no block`);
  if (problems.length === 0) return;
  throw new PithError(
    'KV_SCALES_MISMATCH',
    `open model: the scales of kept keys and values must be those of the blocks, got: ${problems.slice(0, 8).join('; ')}` +
      `${problems.length > 8 ? ` and ${problems.length - 8} more` : ''}; get the checkpoint again`,
    { details: { problems } },
  );
}

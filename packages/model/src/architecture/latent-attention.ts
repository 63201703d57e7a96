// Latent attention (DeepSeek-V2, section 2.1): keys and values of all heads are made of one short vector for each token, queries
// may be; a few values of each head are rotated, and that part of the keys is one for all heads.
//
// Keys and values are kept whole for each head, as other architectures keep them, not as the latent: what a runtime saves in memory
// by keeping the latent it pays for by making keys and values of all earlier tokens again, or by other products than these.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LatentAttentionConfig, ModelConfig, NormConfig } from '../config/model-config.ts';
import type { AttentionInputs, BlockSpec, LinearPart, Scope } from './architecture.ts';
import type { AttentionLayout } from './layout.ts';
import type { LinearRow } from './linear-row.ts';
import { splitHeads, type HeadStates } from './ops/attention.ts';
import { rotate } from './ops/rotary.ts';

/** Names of the modules. */
export type LatentLayout = Extract<AttentionLayout, { kind: 'latent' }>;

/** Rows of keys and values in the linear that makes both of the latent: for each head its key, then its value. */
function keyValueParts({ heads }: ModelConfig, { plainDim, valueDim }: LatentAttentionConfig): LinearPart[] {
  const part = (role: 'key' | 'value', start: number, length: number): LinearPart => ({
    role,
    rows: { start, length, stride: plainDim + valueDim, count: heads },
    heads: { axis: 'rows', count: heads, dim: length },
  });
  return [part('key', 0, plainDim), part('value', plainDim, valueDim)];
}

/** The linears, in the order in which they are applied. */
export function latentRows(
  config: ModelConfig,
  layout: LatentLayout,
  path: string,
  normBefore: string | null,
): LinearRow[] {
  const { hiddenSize, heads, headDim, biases } = config;
  const facts = config.latentAttention!;
  const { queryRank, keyValueRank, plainDim, rotaryDim, valueDim } = facts;
  const parts = keyValueParts(config, facts);
  const reading = { inFeatures: hiddenSize, inputGroup: `${path}.attention`, normBefore };
  const query = {
    role: 'query' as const,
    outFeatures: heads * headDim,
    bias: false,
    heads: { axis: 'rows' as const, count: heads, dim: headDim },
  };
  const queries: LinearRow[] =
    queryRank === null
      ? [{ ...reading, ...query, module: layout.query }]
      : [
          {
            ...reading,
            module: layout.queryLatent,
            role: 'query-latent',
            outFeatures: queryRank,
            bias: biases.queryKeyValue,
          },
          {
            ...query,
            module: layout.queryUp,
            inFeatures: queryRank,
            inputGroup: `${path}.query-latent`,
            normBefore: `${path}.${layout.queryLatentNorm}.weight`,
          },
        ];
  return [
    ...queries,
    {
      ...reading,
      module: layout.keyValueLatent,
      role: 'key-value-latent',
      outFeatures: keyValueRank + rotaryDim,
      bias: biases.queryKeyValue,
    },
    {
      module: layout.keyValue,
      role: 'key-value',
      inFeatures: keyValueRank,
      outFeatures: heads * (plainDim + valueDim),
      bias: false,
      inputGroup: `${path}.key-value-latent`,
      normBefore: `${path}.${layout.keyValueLatentNorm}.weight`,
      parts,
    },
    {
      module: layout.output,
      role: 'attention-output',
      inFeatures: heads * valueDim,
      outFeatures: hiddenSize,
      bias: biases.attentionOutput,
      inputGroup: `${path}.attention-output`,
      fedBy: [{ path: `${path}.${layout.keyValue}`, part: 'value', scales: true, headDim: valueDim, repeat: 1 }],
      heads: { axis: 'columns', count: heads, dim: valueDim },
    },
  ];
}

/** What the program takes from the rest of it. */
export interface LatentTools {
  /** Applies the norm of a module. */
  normalize(scope: Scope, module: string, x: Tensor, norm: NormConfig): Tensor;
  /** Rows of one part of a fused linear's output, f32 [batch, tokens, rows of the part]. */
  partOf(fused: Tensor, part: LinearPart): Tensor;
}

/** Queries, keys and values by head, rotated. */
export function latentStates(
  config: ModelConfig,
  layout: LatentLayout,
  { scope, block, x }: { readonly scope: Scope; readonly block: BlockSpec; readonly x: Tensor },
  { cos, sin }: AttentionInputs,
  { normalize, partOf }: LatentTools,
): HeadStates {
  const { heads, headDim } = config;
  const facts = config.latentAttention!;
  const { queryRank, keyValueRank, plainDim, rotaryDim, valueDim, norm } = facts;
  const turn = (part: Tensor) => (block.rope ? rotate(part, cos!, sin!, block.rope) : part);
  const query =
    queryRank === null
      ? scope.linear(layout.query, x)
      : scope.linear(
          layout.queryUp,
          normalize(scope, layout.queryLatentNorm, scope.linear(layout.queryLatent, x), norm),
        );
  const [plain, rotary] = tf.split(splitHeads(query, heads, headDim), [plainDim, rotaryDim], -1);
  const [latent, shared] = tf.split(scope.linear(layout.keyValueLatent, x), [keyValueRank, rotaryDim], -1);
  const both = scope.linear(layout.keyValue, normalize(scope, layout.keyValueLatentNorm, latent, norm));
  const [key, value] = keyValueParts(config, facts).map((part) => partOf(both, part));
  const ofAll = tf.tile(turn(splitHeads(shared, 1, rotaryDim)), [1, heads, 1, 1]);
  return {
    queries: tf.concat([plain, turn(rotary)], -1),
    keys: tf.concat([splitHeads(key, heads, plainDim), ofAll], -1),
    values: splitHeads(value, heads, valueDim),
  };
}

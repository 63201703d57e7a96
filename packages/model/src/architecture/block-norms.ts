// The norms of one block, from the facts of the config and the names of the layout.
import type { ModelConfig, NormConfig } from '../config/model-config.ts';
import type { LinearSpec, NormRole, NormSpec } from './architecture.ts';
import type { Layout } from './layout.ts';

/** A norm of the model. @param groups Input groups that read its output, where nothing else does. */
export function normSpec(
  path: string,
  role: NormRole,
  { kind, offset, bias }: NormConfig,
  shape: readonly number[],
  groups: readonly string[],
): NormSpec {
  const features = shape.at(-1)!;
  const biasName = bias ? `${path}.bias` : null;
  return { path, name: `${path}.weight`, biasName, role, kind, offset, features, shape, inputGroups: groups };
}

/** The norms of a block, in the order in which they are applied. */
export function normsOf(config: ModelConfig, layout: Layout, path: string, linears: readonly LinearSpec[]): NormSpec[] {
  const { residual, norm, hiddenSize, queryKeyNorm, heads, keyValueHeads, headDim } = config;
  const { norms, attention } = layout;
  const readers = (name: string) => [
    ...new Set(linears.filter(({ normBefore }) => normBefore === name).map(({ inputGroup }) => inputGroup)),
  ];
  const one = (module: string | undefined, role: NormRole): NormSpec[] =>
    module === undefined
      ? []
      : [normSpec(`${path}.${module}`, role, norm, [hiddenSize], readers(`${path}.${module}.weight`))];
  const latents = (): NormSpec[] => {
    if (attention.kind !== 'latent') return [];
    const { queryRank, keyValueRank, norm: how } = config.latentAttention!;
    const spec = (module: string, role: NormRole, features: number) =>
      normSpec(`${path}.${module}`, role, how, [features], readers(`${path}.${module}.weight`));
    return [
      ...(queryRank === null ? [] : [spec(attention.queryLatentNorm, 'query-latent', queryRank)]),
      spec(attention.keyValueLatentNorm, 'key-value-latent', keyValueRank),
    ];
  };
  const ofHeads = (module: string, role: 'query' | 'key', count: number): NormSpec[] => {
    const { over, norm: how } = queryKeyNorm!;
    const spec = (at: string, shape: readonly number[]) => normSpec(`${path}.${at}`, role, how, shape, []);
    if (over === 'head') return [spec(module, [headDim])];
    if (over === 'whole') return [spec(module, [count * headDim])];
    if (!attention.norms!.eachHead) return [spec(module, [count, headDim])];
    return Array.from({ length: count }, (_, head) => spec(`${module}.norms.${head}`, [headDim]));
  };
  const post = residual === 'post';
  return [
    ...(post ? [] : one(norms.attention, 'attention')),
    ...latents(),
    ...(queryKeyNorm === null
      ? []
      : [...ofHeads(attention.norms!.query, 'query', heads), ...ofHeads(attention.norms!.key, 'key', keyValueHeads)]),
    ...(post ? one(norms.attention, 'attention-residual') : one(norms.afterAttention, 'after-attention')),
    ...(post || residual === 'parallel' ? [] : one(norms.feedForward, 'feed-forward')),
    ...(post ? one(norms.feedForward, 'feed-forward-residual') : one(norms.afterFeedForward, 'after-feed-forward')),
  ];
}

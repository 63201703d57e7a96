// What people should know of a checkpoint whose runtime codes the keys and values that it keeps.
import type { Checkpoint } from '@pith/checkpoint';

/**
 * What becomes of the scales of keys and values; empty for a checkpoint without a scheme for them.
 *
 * @param carried true where the output has them.
 */
export function kvCacheNotices({ quantization }: Pick<Checkpoint, 'quantization'>, carried: boolean): string[] {
  const { kvCache } = quantization ?? {};
  if (kvCache === undefined) return [];
  const { dtype, scales } = kvCache;
  return [
    `the source codes kept keys and values in ${dtype} (kv_cache_scheme, ${scales.length} scales): ` +
      (carried
        ? 'the scales are carried over'
        : 'the output has neither scheme nor scales; --kv-cache calibrates them anew'),
  ];
}

// Weights whose products runtimes compute as one matrix, queries with keys and values, gates with ups: with scales in e4m3
// (NVFP4) they share one global scale, because the kernel of the joined matrix has one.
import type { LinearRole, LinearSpec } from '@pith/model';

/** Roles that are joined. */
const JOINED: Readonly<Partial<Record<LinearRole, string>>> = {
  query: 'attention',
  key: 'attention',
  value: 'attention',
  // Latents of queries and of keys and values.
  'query-latent': 'latents',
  'key-value-latent': 'latents',
  gate: 'feed-forward',
  up: 'feed-forward',
};

/**
 * The linears that share a global scale, as lists of those that do; a linear that stands alone is a list of one. Those of one
 * module (`self_attn`, `mlp`, one expert) belong together.
 */
export function sharingLinears<L extends Pick<LinearSpec, 'path' | 'role'>>(linears: readonly L[]): readonly L[][] {
  const sets = new Map<string, L[]>();
  for (const linear of linears) {
    const { path, role } = linear;
    const joined = JOINED[role];
    const key = joined === undefined ? path : `${path.slice(0, path.lastIndexOf('.'))} ${joined}`;
    sets.set(key, [...(sets.get(key) ?? []), linear]);
  }
  return [...sets.values()];
}

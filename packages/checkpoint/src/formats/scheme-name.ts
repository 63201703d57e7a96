// A scheme in a word, for people: `w4g128-asym`.
import type { StoredScheme } from '@pith/tensor-core';

/** The name of a scheme as options have it, where they know it: `w4g128`, `fp8`; `mlx4g64` and `nf4g64` for those of formats. */
export function schemeName(scheme: StoredScheme): string {
  const { granularity } = scheme;
  const group = granularity.kind === 'group' ? `g${granularity.size}` : '';
  const tensor = granularity.kind === 'tensor' ? '-tensor' : '';
  switch (scheme.kind) {
    case 'int':
      return `w${scheme.bits}${group}${tensor}${scheme.symmetric ? '' : '-asym'}`;
    case 'float':
      if (scheme.scaleDType === 'f8_e4m3') return 'nvfp4';
      if (scheme.scaleDType === 'f8_e8m0') return scheme.dtype === 'f4_e2m1' ? 'mxfp4' : 'mxfp8';
      if (granularity.kind === 'block') return 'fp8-block';
      return `${scheme.dtype.replace(/^f8_e4m3$/, 'fp8').replace(/^f8_e5m2$/, 'fp8-e5m2')}${group}${tensor}`;
    case 'affine':
      return `mlx${scheme.bits}${group}`;
    case 'table':
      return `${scheme.table}${group}`;
  }
}

/** The names of the schemes of quantized weights, the most frequent first. */
export function schemeNames(schemes: Iterable<StoredScheme>): string[] {
  const counts = new Map<string, number>();
  for (const scheme of schemes) counts.set(schemeName(scheme), (counts.get(schemeName(scheme)) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([name]) => name);
}

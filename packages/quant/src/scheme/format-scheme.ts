// The canonical name of a scheme; `parseScheme` reads it back.
import type { SchemeDefinition } from './define-scheme.ts';

/**
 * The canonical name of a scheme: `w4g128-asym`, `w8a8`, `fp8-tensor`. The dtype of the scales is not part of a name.
 */
export function formatScheme({ weights, activations }: SchemeDefinition): string {
  const { granularity } = weights;
  const parts: string[] = [];
  if (weights.kind === 'int') {
    const group = granularity.kind === 'group' ? `g${granularity.size}` : '';
    parts.push(`w${weights.bits}${activations ? 'a8' : ''}${group}`);
  } else {
    parts.push('fp8');
    if (weights.dtype === 'f8_e5m2') parts.push('e5m2');
    else if (activations === undefined) parts.push('a16');
  }
  if (granularity.kind === 'tensor') parts.push('tensor');
  if (weights.kind === 'int' && !weights.symmetric) parts.push('asym');
  if (activations?.dynamic === false) parts.push('static');
  if (activations?.symmetric === false) parts.push('aasym');
  return parts.join('-');
}

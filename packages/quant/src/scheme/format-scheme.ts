// The canonical name of a scheme; `parseScheme` reads it back.
import type { SchemeDefinition } from './define-scheme.ts';

/**
 * The canonical name of a scheme: `w4g128-asym`, `w8a8`, `fp8-tensor`, `nvfp4-a4`. The dtype of the scales is not part of a name.
 */
export function formatScheme({ weights, activations }: SchemeDefinition): string {
  const { granularity } = weights;
  const parts: string[] = [];
  if (weights.kind === 'float' && weights.scaleDType !== undefined) {
    const fp4 = weights.dtype === 'f4_e2m1';
    parts.push(weights.scaleDType === 'f8_e4m3' ? 'nvfp4' : fp4 ? 'mxfp4' : 'mxfp8');
    if (activations) parts.push(fp4 ? 'a4' : 'a8');
    return parts.join('-');
  }
  if (weights.kind === 'float' && granularity.kind === 'block') {
    const { rows, columns } = granularity;
    parts.push(rows === 128 && columns === 128 ? 'fp8-block' : `fp8-block${rows}x${columns}`);
    if (weights.dtype === 'f8_e5m2') parts.push('e5m2');
    else if (activations === undefined) parts.push('a16');
    return parts.join('-');
  }
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

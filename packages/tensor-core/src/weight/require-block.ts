// A block of codes is what a reader gives; it is checked before it is used.
import { PithError } from '../errors/pith-error.ts';
import { scaleCount } from './quantized-layout.ts';
import type { CodeBlock, StoredScheme } from './weight-tensor.ts';

/** Throws `QUANTIZED_BLOCK_MALFORMED` unless a block has the codes, scales and zero points of its rows. */
export function requireBlock(block: CodeBlock, scheme: StoredScheme, rows: number, columns: number): void {
  const scales = scaleCount(scheme.granularity, rows, columns);
  const zeroPoints = scheme.kind === 'int' && !scheme.symmetric ? scales : undefined;
  const biases = scheme.kind === 'affine' ? scales : undefined;
  const problems = [
    block.codes.length === rows * columns ? '' : `${rows * columns} codes, got ${block.codes.length}`,
    block.scales.length === scales ? '' : `${scales} scales, got ${block.scales.length}`,
    block.zeroPoints?.length === zeroPoints
      ? ''
      : `${zeroPoints ?? 'no'} zero points, got ${block.zeroPoints?.length ?? 'none'}`,
    block.biases?.length === biases ? '' : `${biases ?? 'no'} biases, got ${block.biases?.length ?? 'none'}`,
  ].filter((problem) => problem !== '');
  if (problems.length === 0) return;
  throw new PithError(
    'QUANTIZED_BLOCK_MALFORMED',
    `quantized block: ${rows} rows of ${columns} columns take ${problems.join('; ')}`,
    { details: { rows, columns, scheme, problems } },
  );
}

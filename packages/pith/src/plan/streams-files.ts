// Which way a quantization takes: rounded from file to file, or block by block.
import { openCheckpoint } from '@pith/checkpoint/node';
import type { QuantizeOptions } from './types.ts';

/** True where weights are rounded from file to file: to nearest, from a source whose weights are all dense. */
export async function streamsFiles(
  model: string,
  { method = 'rtn', calibration, data }: QuantizeOptions,
): Promise<boolean> {
  if (method !== 'rtn' || (calibration ?? data) !== undefined) return false;
  const { quantization, weights, close } = await openCheckpoint(model);
  await close();
  return quantization === undefined && [...weights.values()].every(({ kind }) => kind === 'dense');
}

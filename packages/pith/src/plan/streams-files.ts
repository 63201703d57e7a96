// Which way a quantization takes: rounded from file to file, or block by block.
import { describeArchitecture, readModelConfig, storageDifferences } from '@pith/model';
import { openPlace, type ModelPlace } from '../source/locate-model.ts';
import type { QuantizeOptions } from './types.ts';

/** True where weights are rounded from file to file: to nearest, from a source whose weights are all dense and stored as the table has them. */
export async function streamsFiles(
  model: ModelPlace,
  { method = 'rtn', calibration, data }: QuantizeOptions,
): Promise<boolean> {
  if (method !== 'rtn' || (calibration ?? data) !== undefined) return false;
  const { config, quantization, weights, close } = await openPlace(model);
  await close();
  if (quantization !== undefined || [...weights.values()].some(({ kind }) => kind !== 'dense')) return false;
  return storageDifferences(describeArchitecture(readModelConfig(config)), weights.keys()).length === 0;
}

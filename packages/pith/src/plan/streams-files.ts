// Which way a quantization takes: rounded from file to file, or block by block.
import {
  describeArchitecture,
  readModelConfig,
  storageDifferences,
  supportedModelTypes,
  withTensorNames,
} from '@pith/model';
import { PithError } from '@pith/tensor-core';
import { openPlace, type ModelPlace } from '../source/locate-model.ts';
import type { QuantizeOptions } from './types.ts';

/**
 * True where weights are rounded from file to file: to nearest, from a source whose weights are all dense and stored as the table
 * has them, and into no variant of a format, which may code matrices outside of the blocks.
 */
export async function streamsFiles(
  model: ModelPlace,
  { method = 'rtn', calibration, data, kvCache, format, generic = false }: QuantizeOptions,
): Promise<boolean> {
  if (method !== 'rtn' || (calibration ?? data ?? kvCache) !== undefined) {
    if (!generic) return false;
    throw new PithError(
      'OPTIONS_INVALID',
      `quantize: generic: works with rounding to nearest alone, got ${method}${method === 'rtn' ? ' with a calibration text' : ''}; an unknown architecture cannot be run`,
    );
  }
  if (format?.includes(':') === true && !generic) return false;
  const { config, quantization, weights, close } = await openPlace(model);
  await close();
  if (quantization !== undefined || [...weights.values()].some(({ kind }) => kind !== 'dense')) return false;
  if (generic && !isSupported(config)) return true;
  const architecture = withTensorNames(weights.keys(), () => describeArchitecture(readModelConfig(config)));
  return storageDifferences(architecture, weights.keys()).length === 0;
}

/** True where there is a table for the model type of a config. */
export function isSupported(config: Readonly<Record<string, unknown>>): boolean {
  return supportedModelTypes.includes(String(config['model_type']));
}

// The scales of a checkpoint's kept keys and values, read: two small tensors for each block.
import { KV_SCALE_NAMES, OLD_KV_SCALE_NAMES, asConvertible } from '@pith/checkpoint';
import type { Checkpoint, StoredTensor } from '@pith/checkpoint';
import { PithError, toF32 } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { keyValueScaleNames, type KeyValueQuantization } from '../run/key-value-form.ts';

/**
 * How a checkpoint's kept keys and values are coded; null where it says nothing of them, and where it has no scales at all, as then no
 * runtime knows what to do.
 *
 * @throws PithError `CT_SCALE_INVALID` for a scale that is not positive and finite; of some blocks without scales `createModel` tells.
 */
export async function readKeyValueCache(
  { quantization, tensors }: Pick<Checkpoint, 'quantization' | 'tensors'>,
  { blocks }: Pick<Architecture, 'blocks'>,
): Promise<KeyValueQuantization | null> {
  const { kvCache } = quantization ?? {};
  if (kvCache === undefined || kvCache.scales.length === 0) return null;
  const stored = new Set(kvCache.scales);
  const scales = new Map<string, Float32Array>();
  const dtypes = new Set<string>();
  for (const block of blocks) {
    const names = keyValueScaleNames(block);
    if (names === undefined) continue;
    for (const [part, kind] of [
      ['keys', 'key'],
      ['values', 'value'],
    ] as const) {
      const module = names[part].slice(0, -KV_SCALE_NAMES[kind].length);
      const found = [names[part], `${module}${OLD_KV_SCALE_NAMES[kind]}`].find((name) => stored.has(name));
      if (found === undefined) continue;
      const { dtype, source, file } = tensors.get(found) as StoredTensor;
      const values = toF32(asConvertible(dtype, found), await source.read(0, source.byteLength));
      const wrong = values.find((value) => !(value > 0 && Number.isFinite(value)));
      if (wrong !== undefined) throw invalidScale(found, file, wrong);
      scales.set(names[part], values);
      dtypes.add(dtype);
    }
  }
  const [only] = dtypes;
  const scaleDType = dtypes.size === 1 && (only === 'f16' || only === 'bf16') ? only : 'f32';
  return { dtype: kvCache.dtype, granularity: kvCache.granularity, scaleDType, scales };
}

function invalidScale(tensor: string, file: string, value: number): PithError {
  return new PithError(
    'CT_SCALE_INVALID',
    `read compressed-tensors: the scale ${JSON.stringify(tensor)} in ${file} must be positive and finite, got ${value}; get the ` +
      'checkpoint again',
    { details: { tensor, file, value: String(value) } },
  );
}

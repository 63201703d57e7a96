// The weights of a compressed-tensors checkpoint by the names of their dense forms. Nothing but `weight_shape` (16
// bytes for each packed weight), scales of a whole tensor or its inputs, group indices, and what sparse weights say of their
// rows is read.
import type { PackedLayout, WeightTensor } from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { isConvertible } from '../safetensors/stored-dtype.ts';
import { storedDenseWeight } from '../weights/stored-dense-weight.ts';
import { findModules, readingOf, tensorsOf, type ModuleReading, type ModuleTensors } from './find-modules.ts';
import { keyValueScales } from './kv-cache-scheme.ts';
import { readMarlinWeights } from './marlin-24.ts';
import { chooseLayout } from './packed-layouts.ts';
import type { CompressedConfig } from './quantization-config.ts';
import { denseShape, readGlobalScale, readGroupIndex, readInputs } from './read-parts.ts';
import { readSparseWeights } from './read-sparse.ts';
import { readSparsePattern, sparseInvalid, type SparsePattern } from './sparse-pattern.ts';
import { storedQuantizedWeight } from './stored-quantized-weight.ts';

/**
 * Reads a checkpoint's tensors as weights: quantized and sparse ones by their modules (both at once is quantized, with zeros among
 * the codes), all others as dense. Scales of keys and
 * values, where the configuration has a scheme for them, are none.
 *
 * @throws PithError `CT_TENSOR_MISSING`, `CT_SPARSE_INVALID`, `CT_SHAPE_INVALID`, `CT_SCALE_INVALID`,
 * `CT_GROUP_INDEX_INVALID`, `CT_GROUP_UNKNOWN`, `CT_GROUP_AMBIGUOUS`, `CT_PACKING_AMBIGUOUS`, `CT_SCHEME_UNSUPPORTED`.
 */
export async function readCompressedWeights(
  tensors: ReadonlyMap<string, StoredTensor>,
  config: CompressedConfig,
): Promise<Map<string, WeightTensor>> {
  const whole = [
    ...(config.sparsity ? await readSparseWeights(tensors, config.sparsity) : []),
    ...readMarlinWeights(tensors, config.marlin),
  ];
  const modules = findModules(tensors);
  const readings: {
    readonly parts: ModuleTensors;
    readonly pattern: SparsePattern | undefined;
    readonly shape: readonly [number, number];
    readonly reading: ModuleReading;
  }[] = [];
  const evidence = new Set<PackedLayout>();
  for (const parts of modules) {
    const pattern = await patternOf(parts, config);
    const shape = pattern ? ([pattern.rows, pattern.columns] as const) : await denseShape(parts);
    const reading = readingOf(parts, shape, config);
    readings.push({ parts, pattern, shape, reading });
    if (32 % reading.group.bits !== 0 && reading.layouts.length === 1) evidence.add(reading.layouts[0]!);
  }
  const agreed = evidence.size === 1 ? [...evidence][0] : undefined;
  const byFirstTensor = new Map<string, WeightTensor>();
  const taken = new Set<string>(config.kvCache ? keyValueScales(tensors, config.kvCache) : []);
  for (const { weight, first, names } of whole) {
    for (const name of names) taken.add(name);
    byFirstTensor.set(first, weight);
  }
  for (const { parts, pattern, shape, reading } of readings) {
    const { group, scheme, layouts } = reading;
    const packed = group.format === 'pack-quantized';
    const layout = packed ? chooseLayout(parts.module, layouts, agreed, config.version) : undefined;
    const groups = scheme.granularity.kind === 'group' ? shape[1] / scheme.granularity.size : 1;
    for (const { name } of tensorsOf(parts)) taken.add(name);
    const weight = storedQuantizedWeight({
      ...{ parts, pattern, shape, scheme, layout, format: group.format },
      activations: await readInputs(parts, group),
      globalScale: await readGlobalScale(parts),
      groupIndex: await readGroupIndex(parts, shape[1], groups),
    });
    byFirstTensor.set(parts.codes.name, weight);
  }
  const weights = new Map<string, WeightTensor>();
  for (const [name, tensor] of tensors) {
    const whole = byFirstTensor.get(name);
    if (whole) weights.set(whole.name, whole);
    else if (!taken.has(name) && isConvertible(tensor.dtype)) weights.set(name, storedDenseWeight(tensor));
  }
  return weights;
}

/** Where the codes of a module stand; undefined where all are stored. */
async function patternOf(
  { module, codes, sparse }: ModuleTensors,
  { sparsity }: CompressedConfig,
): Promise<SparsePattern | undefined> {
  if (sparse === undefined) return undefined;
  if (sparsity) return readSparsePattern(sparse, codes, sparsity);
  throw sparseInvalid(module, codes, 'config.json has no sparsity_config with a format');
}

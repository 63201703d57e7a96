// The weights of a compressed-tensors checkpoint by the names of their dense forms. Nothing but `weight_shape` (16
// bytes for each packed weight) and what sparse weights say of their rows is read.
import { PithError, type PackedLayout, type WeightTensor } from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { isConvertible } from '../safetensors/stored-dtype.ts';
import { storedDenseWeight } from '../weights/stored-dense-weight.ts';
import { findModules, readingOf, type ModuleReading, type ModuleTensors } from './find-modules.ts';
import { chooseLayout } from './packed-layouts.ts';
import type { CompressedConfig } from './quantization-config.ts';
import { readSparseWeights } from './read-sparse.ts';
import { storedQuantizedWeight } from './stored-quantized-weight.ts';

/**
 * Reads a checkpoint's tensors as weights: quantized and sparse ones by their modules, all others as dense.
 *
 * @throws PithError `CT_TENSOR_MISSING`, `CT_SPARSE_INVALID`, `CT_SHAPE_INVALID`, `CT_GROUP_UNKNOWN`, `CT_GROUP_AMBIGUOUS`,
 * `CT_PACKING_AMBIGUOUS`, `CT_SCHEME_UNSUPPORTED`.
 */
export async function readCompressedWeights(
  tensors: ReadonlyMap<string, StoredTensor>,
  config: CompressedConfig,
): Promise<Map<string, WeightTensor>> {
  const sparse = config.sparsity ? await readSparseWeights(tensors, config.sparsity) : [];
  const modules = findModules(tensors);
  const readings: { parts: ModuleTensors; shape: readonly [number, number]; reading: ModuleReading }[] = [];
  const evidence = new Set<PackedLayout>();
  for (const parts of modules) {
    const shape = await denseShape(parts);
    const reading = readingOf(parts, shape, config);
    readings.push({ parts, shape, reading });
    if (32 % reading.group.bits !== 0 && reading.layouts.length === 1) evidence.add(reading.layouts[0]!);
  }
  const agreed = evidence.size === 1 ? [...evidence][0] : undefined;
  const byFirstTensor = new Map<string, WeightTensor>();
  const taken = new Set<string>();
  for (const { weight, first, names } of sparse) {
    for (const name of names) taken.add(name);
    byFirstTensor.set(first, weight);
  }
  for (const { parts, shape, reading } of readings) {
    const layout =
      reading.group.format === 'pack-quantized'
        ? chooseLayout(parts.module, reading.layouts, agreed, config.version)
        : undefined;
    const stored = [parts.codes, parts.scales, parts.zeroPoints, parts.shape].filter((one) => one !== undefined);
    for (const { name } of stored) taken.add(name);
    byFirstTensor.set(parts.codes.name, storedQuantizedWeight({ parts, shape, scheme: reading.scheme, layout }));
  }
  const weights = new Map<string, WeightTensor>();
  for (const [name, tensor] of tensors) {
    const whole = byFirstTensor.get(name);
    if (whole) weights.set(whole.name, whole);
    else if (!taken.has(name) && isConvertible(tensor.dtype)) weights.set(name, storedDenseWeight(tensor));
  }
  return weights;
}

/** The dense shape: `weight_shape` of packed codes, which it must fit; the codes' own otherwise. */
async function denseShape({ module, codes, shape }: ModuleTensors): Promise<readonly [number, number]> {
  const invalid = (why: string) =>
    new PithError(
      'CT_SHAPE_INVALID',
      `read compressed-tensors: ${why} of ${JSON.stringify(module)} in ${codes.file}; get the checkpoint again`,
      { details: { module, file: codes.file } },
    );
  if (!shape) {
    const [rows, columns] = codes.shape;
    if (codes.shape.length !== 2) throw invalid(`the codes must be a matrix, got [${codes.shape.join(', ')}]`);
    return [rows!, columns!];
  }
  if (shape.dtype !== 'i64' || shape.shape.join() !== '2') {
    throw invalid(`weight_shape must be I64 [2], got ${shape.dtype.toUpperCase()} [${shape.shape.join(', ')}]`);
  }
  const bytes = await shape.source.read(0, 16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  const [rows, columns] = [view.getBigInt64(0, true), view.getBigInt64(8, true)];
  // A word holds at most 16 codes (2 bits): no value in here can ask for more memory than that.
  const most = BigInt(codes.shape[1] ?? 0) * 16n;
  if (codes.shape.length !== 2 || rows !== BigInt(codes.shape[0]!) || columns < 1n || columns > most) {
    throw invalid(`weight_shape [${rows}, ${columns}] must fit the codes [${codes.shape.join(', ')}]`);
  }
  return [Number(rows), Number(columns)];
}

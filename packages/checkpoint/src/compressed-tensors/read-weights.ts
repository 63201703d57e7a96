// The weights of a compressed-tensors checkpoint by the names of their dense forms. Nothing but `weight_shape` (16
// bytes for each packed weight) and what sparse weights say of their rows is read.
import { PithError, toF32, type ActivationQuantization, type PackedLayout, type WeightTensor } from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { isConvertible } from '../safetensors/stored-dtype.ts';
import { storedDenseWeight } from '../weights/stored-dense-weight.ts';
import { findModules, readingOf, type ModuleReading, type ModuleTensors } from './find-modules.ts';
import { chooseLayout } from './packed-layouts.ts';
import type { CompressedConfig, CompressedGroup } from './quantization-config.ts';
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
  const activations: (ActivationQuantization | undefined)[] = [];
  for (const { parts, reading } of readings) activations.push(await readActivations(parts, reading.group));
  const byFirstTensor = new Map<string, WeightTensor>();
  const taken = new Set<string>();
  for (const { weight, first, names } of sparse) {
    for (const name of names) taken.add(name);
    byFirstTensor.set(first, weight);
  }
  for (const [i, { parts, shape, reading }] of readings.entries()) {
    const layout =
      reading.group.format === 'pack-quantized'
        ? chooseLayout(parts.module, reading.layouts, agreed, config.version)
        : undefined;
    const found = activations[i];
    const inputs = found?.kind === 'tensor-static' ? [parts.inputScale, parts.inputZeroPoint] : [];
    const all = [parts.codes, parts.scales, parts.zeroPoints, parts.shape, ...inputs];
    const stored = all.filter((one) => one !== undefined);
    for (const { name } of stored) taken.add(name);
    byFirstTensor.set(
      parts.codes.name,
      storedQuantizedWeight({ parts, shape, scheme: reading.scheme, layout, activations: found }),
    );
  }
  const weights = new Map<string, WeightTensor>();
  for (const [name, tensor] of tensors) {
    const whole = byFirstTensor.get(name);
    if (whole) weights.set(whole.name, whole);
    else if (!taken.has(name) && isConvertible(tensor.dtype)) weights.set(name, storedDenseWeight(tensor));
  }
  return weights;
}

/** How the inputs of a module are quantized; a static scale and its zero point are read. */
async function readActivations(
  { module, codes, inputScale, inputZeroPoint }: ModuleTensors,
  { activations }: CompressedGroup,
): Promise<ActivationQuantization | undefined> {
  if (activations === undefined || activations.kind === 'token-dynamic') {
    return activations && { ...activations, kind: 'token-dynamic' };
  }
  const { dtype, symmetric } = activations;
  const missing = inputScale === undefined ? 'input_scale' : 'input_zero_point';
  if (inputScale === undefined || (!symmetric && inputZeroPoint === undefined)) {
    throw new PithError(
      'CT_TENSOR_MISSING',
      `read compressed-tensors: module ${JSON.stringify(module)} in ${codes.file} must have ${missing}, its activations ` +
        `have a static scale; get the checkpoint again`,
      { details: { module, file: codes.file, missing } },
    );
  }
  const scaleType = inputScale.dtype;
  const invalid = (why: string) =>
    new PithError('CT_SHAPE_INVALID', `read compressed-tensors: ${why} of ${JSON.stringify(module)} in ${codes.file}`, {
      details: { module, file: codes.file },
    });
  if ((scaleType !== 'f32' && scaleType !== 'f16' && scaleType !== 'bf16') || !isSingle(inputScale)) {
    throw invalid(`input_scale must be one float, got ${scaleType} [${inputScale.shape.join(', ')}]`);
  }
  const scale = toF32(scaleType, await inputScale.source.read(0, inputScale.byteLength))[0]!;
  if (!(scale > 0) || !Number.isFinite(scale)) throw invalid(`input_scale must be positive and finite, got ${scale}`);
  let zeroPoint = 0;
  if (!symmetric) {
    if (inputZeroPoint!.dtype !== 'i8' || !isSingle(inputZeroPoint!)) {
      throw invalid(
        `input_zero_point must be one I8, got ${inputZeroPoint!.dtype} [${inputZeroPoint!.shape.join(', ')}]`,
      );
    }
    zeroPoint = ((await inputZeroPoint!.source.read(0, 1))[0]! << 24) >> 24;
  }
  return { kind: 'tensor-static', dtype, symmetric, scale, zeroPoint };
}

function isSingle({ shape }: StoredTensor): boolean {
  return shape.every((length) => length === 1);
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

// The small tensors of a quantized module, which are read when a checkpoint is opened: its shape, its global scale, the groups
// of its columns, and what calibration found for its inputs.
import { PithError, toF32, type ActivationQuantization } from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import type { ModuleTensors } from './find-modules.ts';
import type { CompressedGroup } from './read-group.ts';

/** What stored scales are divided by; undefined where they are not. @throws PithError `CT_SHAPE_INVALID`, `CT_SCALE_INVALID` */
export async function readGlobalScale({ globalScale }: ModuleTensors): Promise<number | undefined> {
  return globalScale && readScale(globalScale, ['f32']);
}

/**
 * The group of each column; undefined where columns lie in the order of their groups.
 *
 * @throws PithError `CT_SHAPE_INVALID`, `CT_GROUP_INDEX_INVALID`.
 */
export async function readGroupIndex(
  { module, groupIndex }: ModuleTensors,
  columns: number,
  groups: number,
): Promise<Int32Array | undefined> {
  if (groupIndex === undefined) return undefined;
  const { name, file, dtype, shape } = groupIndex;
  if (dtype !== 'i32' || shape.join() !== `${columns}`) {
    throw invalid('CT_SHAPE_INVALID', groupIndex, `must be I32 [${columns}], got ${described(groupIndex)}`);
  }
  const bytes = (await groupIndex.source.read(0, groupIndex.byteLength)).slice();
  const index = new Int32Array(bytes.buffer, 0, columns);
  // Minus one throughout says that no column was moved.
  if (index.every((group) => group === -1)) return undefined;
  for (const group of index) {
    if (group < 0 || group >= groups) {
      throw new PithError(
        'CT_GROUP_INDEX_INVALID',
        `read compressed-tensors: tensor ${JSON.stringify(name)} in ${file} must name groups from 0 to ${groups - 1}, got ` +
          `${group}; get the checkpoint again`,
        { details: { module, tensor: name, file, group, groups } },
      );
    }
  }
  const size = columns / groups;
  return index.every((group, column) => group === Math.floor(column / size)) ? undefined : index;
}

/**
 * How the inputs of a module are quantized, with what calibration found.
 *
 * @throws PithError `CT_TENSOR_MISSING`, `CT_SHAPE_INVALID`, `CT_SCALE_INVALID`.
 */
export async function readInputs(
  parts: ModuleTensors,
  { activations }: CompressedGroup,
): Promise<ActivationQuantization | undefined> {
  if (activations === undefined || activations.kind === 'token-dynamic') return activations;
  if (activations.kind === 'group-dynamic') {
    if (activations.scaleDType !== 'f8_e4m3') return activations;
    const globalScale = await readScale(required(parts, parts.inputGlobalScale, 'input_global_scale'), ['f32']);
    return { ...activations, globalScale };
  }
  const scale = await readScale(required(parts, parts.inputScale, 'input_scale'), ['f32', 'f16', 'bf16']);
  if (activations.symmetric) return { ...activations, scale, zeroPoint: 0 };
  const zeroPoint = required(parts, parts.inputZeroPoint, 'input_zero_point');
  if (zeroPoint.dtype !== 'i8' || !isSingle(zeroPoint)) {
    throw invalid('CT_SHAPE_INVALID', zeroPoint, `must be one I8, got ${described(zeroPoint)}`);
  }
  const [byte = 0] = await zeroPoint.source.read(0, 1);
  return { ...activations, scale, zeroPoint: (byte << 24) >> 24 };
}

/** One positive, finite float. */
async function readScale(tensor: StoredTensor, dtypes: readonly ('f32' | 'f16' | 'bf16')[]): Promise<number> {
  const dtype = dtypes.find((one) => one === tensor.dtype);
  if (dtype === undefined || !isSingle(tensor)) {
    throw invalid('CT_SHAPE_INVALID', tensor, `must be one float, got ${described(tensor)}`);
  }
  const scale = toF32(dtype, await tensor.source.read(0, tensor.byteLength))[0]!;
  if (scale > 0 && scale < Infinity) return scale;
  throw invalid('CT_SCALE_INVALID', tensor, `must be positive and finite, got ${scale}`);
}

function required({ module, codes }: ModuleTensors, tensor: StoredTensor | undefined, missing: string): StoredTensor {
  if (tensor) return tensor;
  throw new PithError(
    'CT_TENSOR_MISSING',
    `read compressed-tensors: module ${JSON.stringify(module)} in ${codes.file} must have ${missing}, its activations ` +
      `have a static scale; get the checkpoint again`,
    { details: { module, file: codes.file, missing } },
  );
}

function invalid(code: string, { name, file }: StoredTensor, why: string): PithError {
  return new PithError(
    code,
    `read compressed-tensors: tensor ${JSON.stringify(name)} in ${file} ${why}; get the checkpoint again`,
    { details: { tensor: name, file } },
  );
}

function described({ dtype, shape }: StoredTensor): string {
  return `${dtype.toUpperCase()} [${shape.join(', ')}]`;
}

function isSingle({ shape }: StoredTensor): boolean {
  return shape.every((length) => length === 1);
}

/** The dense shape: `weight_shape` of packed codes, which it must fit; the codes' own otherwise, halves of bytes counted. */
export async function denseShape({ module, codes, shape }: ModuleTensors): Promise<readonly [number, number]> {
  const invalid = (why: string) =>
    new PithError(
      'CT_SHAPE_INVALID',
      `read compressed-tensors: ${why} of ${JSON.stringify(module)} in ${codes.file}; get the checkpoint again`,
      { details: { module, file: codes.file } },
    );
  if (!shape) {
    const [rows, columns] = codes.shape;
    if (codes.shape.length !== 2) throw invalid(`the codes must be a matrix, got [${codes.shape.join(', ')}]`);
    return [rows!, columns! * (codes.dtype === 'u8' ? 2 : 1)];
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

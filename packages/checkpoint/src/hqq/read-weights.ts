// The weights of an HQQ checkpoint by the names of their dense forms. Read at once: the numbers and words that each module says of
// itself, some hundred bytes. Restored as hqq does it: the zero point is taken from the code, then the scale multiplied, each
// rounded to the dtype that the module computes in.
import { fromF32, packedWeight, toF32, type PackedWeight, type ScaleDType } from '@pith/tensor-core';
import { gatherWeights, SCALE_DTYPES, type ModuleWeight } from '../formats/read-modules.ts';
import type { QuantizedSource } from '../formats/read-quantized.ts';
import { wordsOf } from '../formats/turned-words.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { HQQ_DTYPES, HQQ_SUFFIXES, hqqConfig, hqqFaults } from './hqq-config.ts';
import { packedRows, packedRuns, PACKINGS, unpackHqq, type Packing } from './packing.ts';

/** Longest word in a tensor of bytes. */
const MOST_LETTERS = 64;

/** A module, described. */
interface Module {
  readonly path: string;
  readonly codes: StoredTensor;
  readonly scales: StoredTensor;
  readonly zeros: StoredTensor;
  readonly shape: readonly [rows: number, columns: number];
  readonly packing: Packing;
  readonly bits: number;
  readonly groupSize: number;
  /** 1: groups lie along the rows of the weight, 0: values that are so many apart share a scale. */
  readonly axis: 0 | 1;
  readonly valueDType: ScaleDType;
}

/**
 * Reads the tensors of an HQQ checkpoint as weights: `<module>.W_q` with what lies beside it, all others as dense.
 *
 * @throws PithError `HQQ_CONFIG_INVALID`, `HQQ_TENSOR_MISSING`, `HQQ_TENSORS_INVALID`, `HQQ_UNSUPPORTED` (coded scales and zero
 * points).
 */
export async function readHqqWeights({ quantization, tensors, file }: QuantizedSource) {
  hqqFaults.config(hqqConfig, quantization, file);
  const modules: ModuleWeight[] = [];
  for (const name of tensors.keys()) {
    const path = name.slice(0, -'.W_q'.length);
    if (name.endsWith('.W_q')) modules.push(await readModule(tensors, path));
    else if (name.endsWith('.zero') && !tensors.has(`${name.slice(0, -'.zero'.length)}.W_q`)) {
      throw hqqFaults.missing(name, `${name.slice(0, -'.zero'.length)}.W_q`);
    }
  }
  return gatherWeights(tensors, modules);
}

async function readModule(tensors: ReadonlyMap<string, StoredTensor>, path: string): Promise<ModuleWeight> {
  const part = (suffix: string): StoredTensor => {
    const found = tensors.get(`${path}.${suffix}`);
    if (found) return found;
    throw hqqFaults.missing(`${path}.W_q`, `${path}.${suffix}`);
  };
  const module = await describeModule(path, part);
  const names = HQQ_SUFFIXES.map((suffix) => `${path}.${suffix}`).filter((name) => tensors.has(name));
  const bytes = names.reduce((sum, name) => sum + tensors.get(name)!.byteLength, 0);
  return { weight: weightOf(module, bytes), names };
}

async function describeModule(path: string, part: (suffix: string) => StoredTensor): Promise<Module> {
  const codes = part('W_q');
  const fault = (why: string) => hqqFaults.tensors(path, codes.file, why);
  for (const suffix of ['quant_scale', 'quant_zero']) {
    if ((await readNumber(part(suffix), path)) === 0) continue;
    throw hqqFaults.unsupported(
      `coded scales or zero points ("${suffix}" of ${path})`,
      codes.file,
      'plain ones are read',
    );
  }
  const shape = await readShape(part('shape'), path);
  const bits = await readNumber(part('nbits'), path);
  const groupSize = await readNumber(part('group_size'), path);
  const axis = await readNumber(part('axis'), path);
  const name = await readWord(part('packing'), path);
  const packing = Object.hasOwn(PACKINGS, name) ? PACKINGS[name] : undefined;
  if (packing === undefined) throw fault(`its packing "${name}" must be one of ${Object.keys(PACKINGS).join(', ')}`);
  if (!(bits >= 1 && bits <= packing.bits)) throw fault(`codes of ${bits} bits are not packed as ${name}`);
  if (axis !== 0 && axis !== 1) throw fault(`its axis must be 0 or 1, it is ${axis}`);
  const word = await readWord(part('compute_dtype'), path);
  const valueDType = SCALE_DTYPES.find((dtype) => HQQ_DTYPES[dtype] === word);
  if (valueDType === undefined) throw fault(`its compute_dtype "${word}" must be a float of torch`);
  const values = shape[0] * shape[1];
  if (!(groupSize >= 1) || values % groupSize !== 0)
    throw fault(`groups of ${groupSize} do not divide ${values} values`);
  const groups = values / groupSize;
  const [rows, columns] = axis === 1 ? [groups, groupSize] : [groupSize, groups];
  if (codes.byteLength !== packedRows(packing, rows) * columns * packing.wordBytes) {
    throw fault(`${codes.byteLength} bytes of codes are not those of [${shape.join(', ')}] as ${name}`);
  }
  const [scales, zeros] = [part('scale'), part('zero')];
  for (const one of [scales, zeros]) {
    const count = one.shape.reduce((a, b) => a * b, 1);
    if (!SCALE_DTYPES.includes(one.dtype as ScaleDType) || count !== groups) {
      throw fault(
        `${one.name.slice(path.length + 1)} must be ${groups} floats, it is ${one.dtype} [${one.shape.join(', ')}]`,
      );
    }
  }
  return { path, codes, scales, zeros, shape, packing, bits, groupSize, axis, valueDType };
}

/** A number in a tensor of one value. */
async function readNumber(tensor: StoredTensor, path: string): Promise<number> {
  const { dtype, byteLength, source, file, name } = tensor;
  const suffix = name.slice(path.length + 1);
  if ((dtype !== 'i32' && dtype !== 'u8') || byteLength !== (dtype === 'i32' ? 4 : 1)) {
    throw hqqFaults.tensors(path, file, `${suffix} must be one i32 or u8, it is ${dtype} [${tensor.shape.join(', ')}]`);
  }
  const bytes = await source.read(0, byteLength);
  return dtype === 'u8' ? bytes[0]! : new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
}

/** Letters in a tensor of bytes. */
async function readWord(tensor: StoredTensor, path: string): Promise<string> {
  const { dtype, byteLength, source, file, name } = tensor;
  if (dtype !== 'u8' || byteLength > MOST_LETTERS) {
    const suffix = name.slice(path.length + 1);
    throw hqqFaults.tensors(
      path,
      file,
      `${suffix} must be at most ${MOST_LETTERS} letters, it is ${dtype} [${tensor.shape.join(', ')}]`,
    );
  }
  return new TextDecoder('latin1').decode(await source.read(0, byteLength));
}

async function readShape(tensor: StoredTensor, path: string): Promise<readonly [rows: number, columns: number]> {
  const { dtype, byteLength, source, file } = tensor;
  if (dtype !== 'i64' || byteLength !== 16) {
    throw hqqFaults.tensors(path, file, `shape must be two i64, it is ${dtype} [${tensor.shape.join(', ')}]`);
  }
  const bytes = await source.read(0, 16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  const [rows, columns] = [Number(view.getBigInt64(0, true)), Number(view.getBigInt64(8, true))];
  if (rows >= 1 && columns >= 1 && Number.isSafeInteger(rows * columns)) return [rows, columns];
  throw hqqFaults.tensors(path, file, `a shape [${rows}, ${columns}] is that of no matrix`);
}

function weightOf(module: Module, bytes: number): PackedWeight {
  const { path, shape, bits, groupSize, valueDType } = module;
  return packedWeight({
    name: `${path}.weight`,
    shape,
    coding: `hqq${bits}g${groupSize}`,
    dtype: valueDType,
    byteLengthOfRows: (start, end) =>
      end - start === shape[0] ? bytes : Math.ceil((bytes * (end - start)) / shape[0]),
    restore: (start, end) => restoreRange(module, start * shape[1], end * shape[1]),
  });
}

/** Values `from` to `to` of the flattened weight. */
async function restoreRange(module: Module, from: number, to: number): Promise<Float32Array> {
  const { shape, groupSize, axis, valueDType, scales, zeros } = module;
  const groups = (shape[0] * shape[1]) / groupSize;
  const width = axis === 1 ? groupSize : groups;
  const [firstRow, lastRow] = [Math.floor(from / width), Math.ceil(to / width)];
  const codes = await readCodes(module, axis === 1 ? groups : groupSize, width, firstRow, lastRow);
  const [firstGroup, lastGroup] = axis === 1 ? [firstRow, lastRow] : [0, groups];
  const [scale, zero] = await Promise.all([scales, zeros].map((one) => readFloats(module, one, firstGroup, lastGroup)));
  const round = (values: Float32Array): Float32Array =>
    valueDType === 'f32' ? values : toF32(valueDType, fromF32(valueDType, values), values);
  const values = new Float32Array(to - from);
  const skipped = from - firstRow * width;
  const groupOf = (i: number): number => (axis === 1 ? Math.floor((skipped + i) / width) : (skipped + i) % width);
  for (let i = 0; i < values.length; i += 1) values[i] = codes[skipped + i]! - zero![groupOf(i)]!;
  round(values);
  for (let i = 0; i < values.length; i += 1) values[i] = values[i]! * scale![groupOf(i)]!;
  return round(values);
}

/** Rows `start` to `end` of the codes as they lie before packing: [rows, columns] in all. */
async function readCodes(
  { codes, packing }: Module,
  rows: number,
  columns: number,
  start: number,
  end: number,
): Promise<Uint8Array> {
  const made = new Uint8Array((end - start) * columns);
  const rowBytes = columns * packing.wordBytes;
  for (const run of packedRuns(packing, rows, start, end)) {
    const bytes = await codes.source.read(run.packedRow * rowBytes, run.rows * rowBytes);
    const at = (run.row - start) * columns;
    unpackHqq(
      packing.wordBytes === 4 ? wordsOf(bytes) : bytes,
      packing,
      run.shift,
      made.subarray(at, at + run.rows * columns),
    );
  }
  return made;
}

/** @throws PithError `HQQ_TENSORS_INVALID` for a NaN or an infinity */
async function readFloats(
  { path, valueDType }: Module,
  { name, dtype, source, byteLength, shape, file }: StoredTensor,
  start: number,
  end: number,
): Promise<Float32Array> {
  const width = byteLength / shape.reduce((a, b) => a * b, 1);
  const stored = toF32(dtype as ScaleDType, await source.read(start * width, (end - start) * width));
  const values = dtype === valueDType || valueDType === 'f32' ? stored : toF32(valueDType, fromF32(valueDType, stored));
  return hqqFaults.requireFinite(values, path, { name, shape, file }, start);
}

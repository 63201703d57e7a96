// The weights of a bitsandbytes checkpoint by the names of their dense forms: 4-bit tables (NF4, FP4), with absolute maxima as
// they are or coded again, and the rows of LLM.int8(). Read at once: the state of each weight (about 100 bytes) and its table.
import {
  codeTable,
  quantizedWeight,
  toF32,
  type CodeBlock,
  type CodeTable,
  type IntegerScheme,
  type TableScheme,
} from '@pith/tensor-core';
import { gatherWeights, type ModuleWeight } from '../formats/read-modules.ts';
import type { QuantizedSource } from '../formats/read-quantized.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { bnbFaults, readQuantState, STATE_SUFFIX, type QuantState } from './quant-state.ts';

/**
 * Reads the tensors of a bitsandbytes checkpoint as weights; what config.json says of them is not needed.
 *
 * @throws PithError `BNB_TENSOR_MISSING`, `BNB_TENSORS_INVALID`, `BNB_CONFIG_INVALID`.
 */
export async function readBitsandbytesWeights({ tensors }: QuantizedSource) {
  const modules: ModuleWeight[] = [];
  for (const [name, tensor] of tensors) {
    const match = /\.(absmax|quant_map|nested_absmax|nested_quant_map)$/.exec(name);
    if (match && tensors.get(name.slice(0, -match[0].length))?.dtype !== 'u8') {
      throw bnbFaults.missing(name, `${name.slice(0, -match[0].length)} in bytes`);
    }
    if (name.endsWith('.SCB') && tensors.get(`${name.slice(0, -4)}.weight`)?.dtype !== 'i8') {
      throw bnbFaults.missing(name, `${name.slice(0, -4)}.weight in bytes`);
    }
    if (!name.endsWith('.weight')) continue;
    if (tensor.dtype === 'u8') modules.push(await readTable(tensors, tensor));
    else if (tensor.dtype === 'i8') modules.push(readRows(tensors, tensor));
  }
  return gatherWeights(tensors, modules);
}

/** The stored tensors of a 4-bit weight. */
interface Parts {
  readonly codes: StoredTensor;
  readonly absmax: StoredTensor;
  /** Of coded maxima: one for each of `nested.blockSize`, and the 256 values of their codes. */
  readonly nested?: { readonly absmax: StoredTensor; readonly map: StoredTensor };
}

async function readTable(tensors: ReadonlyMap<string, StoredTensor>, codes: StoredTensor): Promise<ModuleWeight> {
  const { name, file } = codes;
  const fault = (why: string) => bnbFaults.tensors(name, file, why);
  const part = (suffix: string): StoredTensor => {
    const found = tensors.get(`${name}.${suffix}`);
    if (found) return found;
    throw bnbFaults.missing(name, `${name}.${suffix}`);
  };
  const table: CodeTable = tensors.has(`${name}.${STATE_SUFFIX.fp4}`) ? 'fp4' : 'nf4';
  const stateTensor = part(STATE_SUFFIX[table]);
  const state = await readQuantState(stateTensor, name);
  if (state.table !== table) throw fault(`its state is one of ${state.table} by content and of ${table} by name`);
  const { shape, blockSize, nested } = state;
  const [rows, columns] = shape;
  const values = rows * columns;
  if (!Number.isSafeInteger(values) || codes.byteLength !== Math.ceil(values / 2)) {
    throw fault(`${codes.byteLength} bytes of codes are not those of a shape [${rows}, ${columns}]`);
  }
  const blocks = Math.ceil(values / blockSize);
  const absmax = part('absmax');
  const count = (tensor: StoredTensor) => tensor.shape.reduce((a, b) => a * b, 1);
  const wanted = nested ? 'u8' : 'f32';
  if (absmax.dtype !== wanted || count(absmax) !== blocks) {
    throw fault(`absmax must be ${blocks} of ${wanted}, it is ${absmax.dtype} [${absmax.shape.join(', ')}]`);
  }
  const map = part('quant_map');
  await requireTable(map, table, fault);
  const parts: Parts = { codes, absmax };
  const names = [name, absmax.name, map.name, stateTensor.name];
  if (!nested) return { weight: tableWeight(parts, state, tensors, names), names };
  const [nestedMax, nestedMap] = [part('nested_absmax'), part('nested_quant_map')];
  const outer = Math.ceil(blocks / nested.blockSize);
  if (
    nestedMax.dtype !== 'f32' ||
    count(nestedMax) !== outer ||
    nestedMap.dtype !== 'f32' ||
    count(nestedMap) !== 256
  ) {
    throw fault(`nested_absmax must be ${outer} and nested_quant_map 256 of f32`);
  }
  const all = [...names, nestedMax.name, nestedMap.name];
  return {
    weight: tableWeight({ ...parts, nested: { absmax: nestedMax, map: nestedMap } }, state, tensors, all),
    names: all,
  };
}

/** The table that a file brings along must be the one that its name says. */
async function requireTable(map: StoredTensor, table: CodeTable, fault: (why: string) => Error): Promise<void> {
  if (map.dtype !== 'f32' || map.byteLength !== 64) throw fault('quant_map must be 16 of f32');
  const values = toF32('f32', await map.source.read(0, 64));
  const levels = codeTable(table);
  const wrong = values.findIndex((value, i) => !(Math.abs(value - levels[i]!) <= 1e-6));
  if (wrong >= 0) throw fault(`code ${wrong} of ${table} stands for ${levels[wrong]}, quant_map says ${values[wrong]}`);
}

function tableWeight(
  parts: Parts,
  state: QuantState,
  tensors: ReadonlyMap<string, StoredTensor>,
  names: readonly string[],
) {
  const { table, shape, blockSize, valueDType } = state;
  const [rows, columns] = shape;
  // A run of columns that lies in one row and one block: where blocks lie across rows they are cut.
  const size = greatestDivisor(blockSize, columns);
  const scheme: TableScheme = {
    kind: 'table',
    table,
    granularity: { kind: 'group', size },
    scaleDType: 'f32',
    valueDType,
  };
  const bytes = names.reduce((sum, name) => sum + tensors.get(name)!.byteLength, 0);
  return quantizedWeight({
    name: parts.codes.name,
    shape,
    scheme,
    read: (start, end) => readBlock(parts, state, size, start * columns, end * columns),
    byteLengthOfRows: (start, end) => (end - start === rows ? bytes : Math.ceil((bytes * (end - start)) / rows)),
  });
}

/** Values `from` to `to` of the flattened matrix. */
async function readBlock(parts: Parts, state: QuantState, run: number, from: number, to: number): Promise<CodeBlock> {
  const { blockSize } = state;
  const [firstByte, lastByte] = [from >> 1, Math.ceil(to / 2)];
  const [firstBlock, lastBlock] = [Math.floor(from / blockSize), Math.ceil(to / blockSize)];
  const [bytes, maxima] = await Promise.all([
    parts.codes.source.read(firstByte, lastByte - firstByte),
    readMaxima(parts, state, firstBlock, lastBlock),
  ]);
  const codes = new Uint8Array(to - from);
  for (let i = 0; i < codes.length; i += 1) {
    const at = from + i;
    const byte = bytes[(at >> 1) - firstByte]!;
    // The first of two lies in the upper half.
    codes[i] = at % 2 === 0 ? byte >> 4 : byte & 15;
  }
  const scales = new Float32Array(codes.length / run);
  for (let i = 0; i < scales.length; i += 1) scales[i] = maxima[Math.floor((from + i * run) / blockSize) - firstBlock]!;
  return { codes, scales };
}

/** @throws PithError `BNB_TENSORS_INVALID` for maxima that are not numbers. */
async function readMaxima(
  { absmax, nested }: Parts,
  state: QuantState,
  first: number,
  last: number,
): Promise<Float32Array> {
  const module = absmax.name.slice(0, -'.absmax'.length);
  if (!nested || !state.nested) {
    const maxima = toF32('f32', await absmax.source.read(4 * first, 4 * (last - first)));
    return bnbFaults.requireFinite(maxima, module, absmax, first);
  }
  const { blockSize, offset } = state.nested;
  const [codes, outer, map] = await Promise.all([
    absmax.source.read(first, last - first),
    nested.absmax.source.read(0, nested.absmax.byteLength),
    nested.map.source.read(0, nested.map.byteLength),
  ]);
  const scales = bnbFaults.requireFinite(toF32('f32', outer), module, nested.absmax);
  const levels = bnbFaults.requireFinite(toF32('f32', map), module, nested.map);
  const shift = Math.fround(offset);
  return Float32Array.from(codes, (code, i) => {
    return Math.fround(levels[code]! * scales[Math.floor((first + i) / blockSize)]!) + shift;
  });
}

/** LLM.int8(): `weight` i8 [rows, columns] and `SCB`, the largest magnitude of each row. */
function readRows(tensors: ReadonlyMap<string, StoredTensor>, codes: StoredTensor): ModuleWeight {
  const module = codes.name.slice(0, -'.weight'.length);
  const scales = tensors.get(`${module}.SCB`);
  if (!scales) throw bnbFaults.missing(codes.name, `${module}.SCB`);
  const [rows, columns] = bnbFaults.requireMatrix(codes, module, ['i8']);
  if (scales.dtype !== 'f32' || scales.shape.join() !== `${rows}`) {
    throw bnbFaults.tensors(
      module,
      codes.file,
      `SCB must be f32 [${rows}], it is ${scales.dtype} [${scales.shape.join(', ')}]`,
    );
  }
  const scheme: IntegerScheme = {
    kind: 'int',
    bits: 8,
    symmetric: true,
    granularity: { kind: 'channel' },
    scaleDType: 'f32',
  };
  const format = tensors.get(`${module}.weight_format`);
  const names = [codes.name, scales.name, ...(format ? [format.name] : [])];
  const weight = quantizedWeight({
    name: codes.name,
    shape: [rows, columns],
    scheme,
    read: async (start, end) => {
      const [bytes, maxima] = await Promise.all([
        codes.source.read(start * columns, (end - start) * columns),
        scales.source.read(4 * start, 4 * (end - start)),
      ]);
      return {
        codes: new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        scales: bnbFaults.requireFinite(toF32('f32', maxima), module, scales, start).map((most) => most / 127),
      };
    },
    byteLengthOfRows: (start, end) => (end - start) * (columns + 4),
  });
  return { weight, names };
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

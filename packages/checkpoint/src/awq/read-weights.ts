// The weights of an AWQ checkpoint by the names of their dense forms. Nothing is read.
import { quantizedWeight, toF32, type CodeBlock, type IntegerScheme } from '@pith/tensor-core';
import { gatherWeights, SCALE_DTYPES, type ModuleWeight } from '../formats/read-modules.ts';
import type { QuantizedSource } from '../formats/read-quantized.ts';
import { turn, wordsOf } from '../formats/turned-words.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { awqFaults, readAwqConfig, type AwqConfig } from './awq-config.ts';
import { unpackLanes } from './lanes.ts';

/** The stored tensors of one linear. */
interface Parts {
  readonly module: string;
  /** i32 [inputs, outputs / 8]. */
  readonly qweight: StoredTensor;
  /** i32 [groups, outputs / 8]. */
  readonly qzeros: StoredTensor;
  /** [groups, outputs]. */
  readonly scales: StoredTensor;
}

/**
 * Reads the tensors of an AWQ checkpoint as weights: `<module>.qweight` and what lies beside it, all others as dense.
 *
 * @throws PithError `AWQ_CONFIG_INVALID`, `AWQ_UNSUPPORTED`, `AWQ_TENSOR_MISSING`, `AWQ_TENSORS_INVALID`.
 */
export async function readAwqWeights({ quantization, tensors, file }: QuantizedSource) {
  const config = readAwqConfig(quantization, file);
  const modules: ModuleWeight[] = [];
  for (const [name, tensor] of tensors) {
    for (const suffix of ['qzeros', 'scales']) {
      const module = name.slice(0, -suffix.length - 1);
      if (!name.endsWith(`.${suffix}`) || tensors.has(`${module}.qweight`)) continue;
      throw awqFaults.missing(name, `${module}.qweight`);
    }
    if (name.endsWith('.qweight')) modules.push(readModule(collect(tensors, tensor), config));
  }
  return Promise.resolve(gatherWeights(tensors, modules));
}

function collect(tensors: ReadonlyMap<string, StoredTensor>, qweight: StoredTensor): Parts {
  const module = qweight.name.slice(0, -'.qweight'.length);
  const part = (suffix: string): StoredTensor => {
    const tensor = tensors.get(`${module}.${suffix}`);
    if (tensor) return tensor;
    throw awqFaults.missing(qweight.name, `${module}.${suffix}`);
  };
  return { module, qweight, qzeros: part('qzeros'), scales: part('scales') };
}

function readModule(parts: Parts, { groupSize }: AwqConfig): ModuleWeight {
  const { module, qweight, qzeros, scales } = parts;
  const fault = (why: string) => awqFaults.tensors(module, qweight.file, why);
  const [columns, words] = awqFaults.requireMatrix(qweight, module, ['i32']);
  const [zeroRows, zeroWords] = awqFaults.requireMatrix(qzeros, module, ['i32']);
  const [groups, rows] = awqFaults.requireMatrix(scales, module, SCALE_DTYPES);
  if (rows !== 8 * words || zeroRows !== groups || zeroWords !== words) {
    throw fault(
      `scales [${groups}, ${rows}] and qzeros [${zeroRows}, ${zeroWords}] must be of ${8 * words} outputs and one number of ` +
        'groups',
    );
  }
  const said = groupSize === -1 || groupSize > columns ? columns : groupSize;
  if (groups * said !== columns) {
    throw fault(`there are ${groups} groups for ${columns} inputs, config.json says groups of ${groupSize}`);
  }
  const scheme: IntegerScheme = {
    kind: 'int',
    bits: 4,
    symmetric: false,
    granularity: groupSize === -1 ? { kind: 'channel' } : { kind: 'group', size: said },
    // Values are not rounded to the dtype that the scales are stored in.
    scaleDType: 'f32',
  };
  const bytes = qweight.byteLength + qzeros.byteLength + scales.byteLength;
  const weight = quantizedWeight({
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme,
    read: (start, end) => readBlock(parts, [rows, columns, groups], start, end),
    byteLengthOfRows: (start, end) => (end - start === rows ? bytes : Math.ceil((bytes * (end - start)) / rows)),
  });
  return { weight, names: [qweight.name, qzeros.name, scales.name] };
}

async function readBlock(
  { module, qweight, qzeros, scales }: Parts,
  [rows, columns, groups]: readonly [number, number, number],
  start: number,
  end: number,
): Promise<CodeBlock> {
  const [words, zeroBytes, scaleBytes] = await Promise.all([
    readLanes(qweight, [rows, columns], start, end),
    qzeros.source.read(0, qzeros.byteLength),
    scales.source.read(0, scales.byteLength),
  ]);
  const all = awqFaults.requireFinite(toF32(scales.dtype as 'f16', scaleBytes), module, scales);
  return {
    codes: words,
    scales: turn(all, groups, rows, start, end),
    zeroPoints: turn(unpackLanes(wordsOf(zeroBytes)), groups, rows, start, end),
  };
}

/** Rows of words that are unpacked at a time, so that no more than a few megabytes of codes lie around turned. */
const ROWS_AT_ONCE = 1024;

/** The codes of outputs `start` to `end`: [end - start, columns]. */
async function readLanes(
  { source }: StoredTensor,
  [rows, columns]: readonly [number, number],
  start: number,
  end: number,
): Promise<Int8Array> {
  const codes = new Int8Array((end - start) * columns);
  for (let first = 0; first < columns; first += ROWS_AT_ONCE) {
    const last = Math.min(columns, first + ROWS_AT_ONCE);
    const words = wordsOf(await source.read((first * rows) / 2, ((last - first) * rows) / 2));
    const turned = turn(unpackLanes(words), last - first, rows, start, end);
    for (let row = 0; row < end - start; row += 1) {
      codes.set(turned.subarray(row * (last - first), (row + 1) * (last - first)), row * columns + first);
    }
  }
  return codes;
}

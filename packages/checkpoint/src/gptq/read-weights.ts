// The weights of a GPTQ checkpoint by the names of their dense forms. Nothing is read but `g_idx` (4 bytes for each input)
// of files with act-order.
import { toF32, quantizedWeight, unpack, type CodeBlock, type IntegerScheme } from '@pith/tensor-core';
import type { QuantizedSource } from '../formats/read-quantized.ts';
import { gatherWeights, SCALE_DTYPES, type ModuleWeight } from '../formats/read-modules.ts';
import { readTurned, turn, wordsOf } from '../formats/turned-words.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { GPTQ_BITS, gptqFaults, readGptqConfig, type GptqConfig } from './gptq-config.ts';

/** The stored tensors of one linear. */
interface Parts {
  readonly module: string;
  /** i32 [inputs * bits / 32, outputs]: a bit stream down each column. */
  readonly qweight: StoredTensor;
  /** i32 [groups, outputs * bits / 32]. */
  readonly qzeros: StoredTensor;
  /** [groups, outputs]. */
  readonly scales: StoredTensor;
  /** i32 [inputs]; absent in the oldest files. */
  readonly groupIndex: StoredTensor | undefined;
}

/** One linear, described. */
interface Reading extends Parts {
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly scheme: IntegerScheme;
  readonly zeroOffset: 0 | 1;
}

/**
 * Reads the tensors of a GPTQ checkpoint as weights: `<module>.qweight` and what lies beside it, all others as dense.
 *
 * @throws PithError `GPTQ_CONFIG_INVALID`, `GPTQ_UNSUPPORTED`, `GPTQ_TENSOR_MISSING`, `GPTQ_TENSORS_INVALID`.
 */
export async function readGptqWeights({ quantization, tensors, file }: QuantizedSource) {
  const config = readGptqConfig(quantization, file);
  const modules: ModuleWeight[] = [];
  for (const [name, tensor] of tensors) {
    for (const suffix of ['qzeros', 'scales', 'g_idx']) {
      const module = name.slice(0, -suffix.length - 1);
      if (!name.endsWith(`.${suffix}`) || tensors.has(`${module}.qweight`)) continue;
      throw gptqFaults.missing(name, `${module}.qweight`);
    }
    if (name.endsWith('.qweight')) modules.push(await readModule(collect(tensors, tensor), config));
  }
  return gatherWeights(tensors, modules);
}

function collect(tensors: ReadonlyMap<string, StoredTensor>, qweight: StoredTensor): Parts {
  const module = qweight.name.slice(0, -'.qweight'.length);
  const part = (suffix: string): StoredTensor => {
    const tensor = tensors.get(`${module}.${suffix}`);
    if (tensor) return tensor;
    throw gptqFaults.missing(qweight.name, `${module}.${suffix}`);
  };
  return {
    module,
    qweight,
    qzeros: part('qzeros'),
    scales: part('scales'),
    groupIndex: tensors.get(`${module}.g_idx`),
  };
}

async function readModule(parts: Parts, config: GptqConfig): Promise<ModuleWeight> {
  const { module, qweight, qzeros, scales, groupIndex } = parts;
  const reading = describe(parts, config);
  const { rows, columns, groups, scheme } = reading;
  const names = [qweight, qzeros, scales, groupIndex].flatMap((tensor) => (tensor ? [tensor.name] : []));
  const bytes = [qweight, qzeros, scales, groupIndex].reduce((sum, tensor) => sum + (tensor?.byteLength ?? 0), 0);
  const index = config.actOrder && groupIndex ? await readGroupIndex(reading, groupIndex) : undefined;
  const ordered =
    index === undefined || index.every((group, column) => group === Math.floor((column * groups) / columns));
  let checked = index !== undefined || groupIndex === undefined;
  const weight = quantizedWeight({
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme,
    ...(!ordered && { groupIndex: index }),
    read: async (start, end) => {
      if (!checked) await requireOrder(reading, groupIndex!);
      checked = true;
      return readBlock(reading, start, end);
    },
    byteLengthOfRows: (start, end) => (end - start === rows ? bytes : Math.ceil((bytes * (end - start)) / rows)),
  });
  return { weight, names };
}

function describe(parts: Parts, config: GptqConfig): Reading {
  const { module, qweight, qzeros, scales, groupIndex } = parts;
  const fault = (why: string) => gptqFaults.tensors(module, qweight.file, why);
  const [words, rows] = gptqFaults.requireMatrix(qweight, module, ['i32']);
  const [zeroRows, zeroWords] = gptqFaults.requireMatrix(qzeros, module, ['i32']);
  const [groups, scaleColumns] = gptqFaults.requireMatrix(scales, module, SCALE_DTYPES);
  if (groupIndex && (groupIndex.dtype !== 'i32' || groupIndex.shape.length !== 1)) {
    throw fault(`g_idx must be i32 of one axis, it is ${groupIndex.dtype} [${groupIndex.shape.join(', ')}]`);
  }
  const columns = groupIndex ? groupIndex.shape[0]! : (words * 32) / config.bits;
  const bits = (words * 32) / columns;
  if (!GPTQ_BITS.includes(bits)) throw fault(`${words} words for ${columns} inputs are no codes of 2, 3, 4 or 8 bits`);
  if (bits !== config.bits && !config.mixed) throw fault(`they hold ${bits} bits, config.json says ${config.bits}`);
  if (scaleColumns !== rows || zeroRows !== groups || zeroWords * 32 !== rows * bits) {
    throw fault(
      `scales [${groups}, ${scaleColumns}] and qzeros [${zeroRows}, ${zeroWords}] must be of ${rows} outputs and one number ` +
        'of groups',
    );
  }
  if (columns % groups !== 0) throw fault(`${groups} groups do not divide ${columns} inputs`);
  const size = columns / groups;
  const said = config.groupSize === -1 || config.groupSize > columns ? columns : config.groupSize;
  if (size !== said && !config.mixed) {
    throw fault(`they have groups of ${size} columns, config.json says ${config.groupSize}`);
  }
  const scheme: IntegerScheme = {
    kind: 'int',
    bits,
    symmetric: config.symmetric,
    granularity: config.groupSize === -1 && groups === 1 ? { kind: 'channel' } : { kind: 'group', size },
    // Values are not rounded to the dtype that the scales are stored in.
    scaleDType: 'f32',
  };
  return { ...parts, rows, columns, groups, scheme, zeroOffset: config.zeroOffset };
}

async function readGroupIndex({ module, columns, groups }: Reading, tensor: StoredTensor): Promise<Int32Array> {
  const index = wordsOf(await tensor.source.read(0, 4 * columns)).slice();
  const wrong = index.find((group) => group < 0 || group >= groups);
  if (wrong === undefined) return index;
  throw gptqFaults.tensors(module, tensor.file, `g_idx must name groups from 0 to ${groups - 1}, it names ${wrong}`);
}

/** Without act-order a runtime does not look at `g_idx`: it must say what the runtime assumes. */
async function requireOrder(reading: Reading, tensor: StoredTensor): Promise<void> {
  const { module, columns, groups } = reading;
  const index = await readGroupIndex(reading, tensor);
  const column = index.findIndex((group, at) => group !== Math.floor((at * groups) / columns));
  if (column < 0) return;
  throw gptqFaults.tensors(
    module,
    tensor.file,
    `g_idx puts column ${column} into group ${index[column]} although config.json has no desc_act`,
  );
}

async function readBlock(reading: Reading, start: number, end: number): Promise<CodeBlock> {
  const { module, qweight, scales, columns, groups, rows, scheme } = reading;
  const count = end - start;
  const [words, scaleBytes, zeroPoints] = await Promise.all([
    readTurned(qweight, start, end),
    scales.source.read(0, scales.byteLength),
    readZeros(reading),
  ]);
  const all = gptqFaults.requireFinite(toF32(scales.dtype as 'f16', scaleBytes), module, scales);
  return {
    codes: unpack(words, { rows: count, columns, bits: scheme.bits }),
    scales: turn(all, groups, rows, start, end),
    ...(zeroPoints && { zeroPoints: turn(zeroPoints, groups, rows, start, end) }),
  };
}

/** Zero points [groups, rows] in signed units of codes; undefined where all are half of the range, as symmetric ones must be. */
async function readZeros(reading: Reading): Promise<Int8Array | undefined> {
  const { module, qzeros, groups, rows, scheme, zeroOffset } = reading;
  const words = wordsOf(await qzeros.source.read(0, qzeros.byteLength));
  const zeros = unpack(words, { rows: groups, columns: rows, bits: scheme.bits });
  // A stored -1 less: the sum is the zero point, which may be one above the largest code.
  const wrong = scheme.symmetric ? zeros.findIndex((zero) => zero + zeroOffset !== 0) : zeros.indexOf(128 - zeroOffset);
  if (wrong >= 0) {
    const got = zeros[wrong]! + zeroOffset + 2 ** (scheme.bits - 1);
    const why = scheme.symmetric
      ? 'zero points must be half of the range, as config.json says (sym)'
      : 'zero points must fit';
    throw gptqFaults.tensors(module, qzeros.file, `${why}, output ${wrong % rows} has ${got}`);
  }
  if (scheme.symmetric) return undefined;
  for (let i = 0; i < zeros.length; i += 1) zeros[i]! += zeroOffset;
  return zeros;
}

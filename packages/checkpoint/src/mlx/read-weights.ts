// The weights of an MLX checkpoint by the names of their dense forms. Nothing is read.
import { quantizedWeight, toF32, unpack, type AffineScheme, type CodeBlock, type ScaleDType } from '@pith/tensor-core';
import { gatherWeights, SCALE_DTYPES, type ModuleWeight } from '../formats/read-modules.ts';
import type { QuantizedSource } from '../formats/read-quantized.ts';
import { wordsOf } from '../formats/turned-words.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { mlxFaults, readMlxConfig, type MlxConfig } from './mlx-config.ts';

/** The stored tensors of one module. */
interface Parts {
  readonly module: string;
  /** u32 [rows, columns * bits / 32]. */
  readonly codes: StoredTensor;
  /** [rows, groups]. */
  readonly scales: StoredTensor;
  /** [rows, groups]. */
  readonly biases: StoredTensor;
}

/**
 * Reads the tensors of an MLX checkpoint as weights: `<module>.weight` of words with `scales` and `biases` beside it, all
 * others as dense.
 *
 * @throws PithError `MLX_CONFIG_INVALID`, `MLX_UNSUPPORTED`, `MLX_TENSOR_MISSING`, `MLX_TENSORS_INVALID`.
 */
export function readMlxWeights({ quantization, tensors, file }: QuantizedSource) {
  const config = readMlxConfig(quantization, file);
  const modules: ModuleWeight[] = [];
  for (const [name, tensor] of tensors) {
    if (!name.endsWith('.weight') || tensor.dtype !== 'u32') {
      const module = name.replace(/\.(scales|biases)$/, '');
      if (module !== name && tensors.get(`${module}.weight`)?.dtype !== 'u32') {
        throw mlxFaults.missing(name, `${module}.weight in words`);
      }
      continue;
    }
    const module = name.slice(0, -'.weight'.length);
    const { mode } = config.codingOf(module);
    if (mode !== 'affine') throw mlxFaults.unsupported(`weights in the mode "${mode}"`, file, 'affine ones are');
    const part = (suffix: string): StoredTensor => {
      const found = tensors.get(`${module}.${suffix}`);
      if (found) return found;
      throw mlxFaults.missing(name, `${module}.${suffix}`);
    };
    modules.push(readModule({ module, codes: tensor, scales: part('scales'), biases: part('biases') }, config));
  }
  return Promise.resolve(gatherWeights(tensors, modules));
}

function readModule(parts: Parts, config: MlxConfig): ModuleWeight {
  const { module, codes, scales, biases } = parts;
  const fault = (why: string) => mlxFaults.tensors(module, codes.file, why);
  const { bits, groupSize } = config.codingOf(module);
  const [rows, words] = mlxFaults.requireMatrix(codes, module, ['u32']);
  const [scaleRows, groups] = mlxFaults.requireMatrix(scales, module, SCALE_DTYPES);
  mlxFaults.requireMatrix(biases, module, [scales.dtype]);
  const columns = groups * groupSize;
  if (scaleRows !== rows || biases.shape.join() !== scales.shape.join()) {
    throw fault(`scales [${scales.shape.join(', ')}] and biases [${biases.shape.join(', ')}] must be of ${rows} rows`);
  }
  if (words * 32 !== columns * bits) {
    throw fault(`${words} words and ${groups} groups of a row are no ${bits} bits in groups of ${groupSize}`);
  }
  const scheme: AffineScheme = {
    kind: 'affine',
    bits,
    granularity: { kind: 'group', size: groupSize },
    scaleDType: scales.dtype as ScaleDType,
  };
  const bytes = codes.byteLength + scales.byteLength + biases.byteLength;
  const weight = quantizedWeight({
    name: codes.name,
    shape: [rows, columns],
    scheme,
    read: (start, end) => readBlock(parts, [rows, columns], scheme, start, end),
    byteLengthOfRows: (start, end) => (bytes / rows) * (end - start),
  });
  return { weight, names: [codes.name, scales.name, biases.name] };
}

async function readBlock(
  { codes, scales, biases }: Parts,
  [rows, columns]: readonly [number, number],
  { bits, scaleDType }: AffineScheme,
  start: number,
  end: number,
): Promise<CodeBlock> {
  const slice = ({ source, byteLength }: StoredTensor) =>
    source.read((byteLength / rows) * start, (byteLength / rows) * (end - start));
  const [words, scaleBytes, biasBytes] = await Promise.all([slice(codes), slice(scales), slice(biases)]);
  const signed = unpack(wordsOf(words), { rows: end - start, columns, bits });
  const half = 2 ** (bits - 1);
  const unsigned = new Uint8Array(signed.buffer);
  for (let i = 0; i < unsigned.length; i += 1) unsigned[i] = signed[i]! + half;
  return { codes: unsigned, scales: toF32(scaleDType, scaleBytes), biases: toF32(scaleDType, biasBytes) };
}

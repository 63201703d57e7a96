// The weights of an MLX checkpoint by the names of their dense forms. Nothing is read.
import {
  e8m0ToF32,
  quantizedWeight,
  toF32,
  unpack,
  unpackNibbles,
  type AffineScheme,
  type CodeBlock,
  type ScaleDType,
} from '@pith/tensor-core';
import { gatherWeights, SCALE_DTYPES, type ModuleWeight } from '../formats/read-modules.ts';
import type { QuantizedSource } from '../formats/read-quantized.ts';
import { wordsOf } from '../formats/turned-words.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { MICRO_MODES, type MicroMode } from './micro-modes.ts';
import { mlxFaults, readMlxConfig, type MlxCoding } from './mlx-config.ts';

/** The stored tensors of one module. */
interface Parts {
  readonly module: string;
  /** u32 [rows, columns * bits / 32]. */
  readonly codes: StoredTensor;
  /** [rows, groups]; u8 in floating-point modes. */
  readonly scales: StoredTensor;
}

interface AffineParts extends Parts {
  /** [rows, groups]. */
  readonly biases: StoredTensor;
}

/**
 * Reads the tensors of an MLX checkpoint as weights: `<module>.weight` of words with `scales` beside it, and `biases` where
 * codes are affine, all others as dense.
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
    const coding = config.codingOf(module);
    const part = (suffix: string): StoredTensor => {
      const found = tensors.get(`${module}.${suffix}`);
      if (found) return found;
      throw mlxFaults.missing(name, `${module}.${suffix}`);
    };
    const parts: Parts = { module, codes: tensor, scales: part('scales') };
    const micro = MICRO_MODES[coding.mode];
    modules.push(micro ? readMicro(parts, micro) : readAffine({ ...parts, biases: part('biases') }, coding));
  }
  return Promise.resolve(gatherWeights(tensors, modules));
}

function readAffine(parts: AffineParts, { bits, groupSize }: MlxCoding): ModuleWeight {
  const { module, codes, scales, biases } = parts;
  const shape = requireShape(parts, SCALE_DTYPES, bits, groupSize);
  mlxFaults.requireMatrix(biases, module, [scales.dtype]);
  if (biases.shape.join() !== scales.shape.join()) {
    const [of, are] = [scales, biases].map((part) => `[${part.shape.join(', ')}]`);
    throw mlxFaults.tensors(module, codes.file, `biases ${are} must have the shape of scales ${of}`);
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
    shape,
    scheme,
    read: (start, end) => readAffineBlock(parts, shape, scheme, start, end),
    byteLengthOfRows: (start, end) => (bytes / shape[0]) * (end - start),
  });
  return { weight, names: [codes.name, scales.name, biases.name] };
}

function readMicro(parts: Parts, { bits, groupSize, scheme }: MicroMode): ModuleWeight {
  const { codes, scales } = parts;
  const shape = requireShape(parts, ['u8'], bits, groupSize);
  const bytes = codes.byteLength + scales.byteLength;
  const weight = quantizedWeight({
    name: codes.name,
    shape,
    scheme,
    ...(scheme.scaleDType === 'f8_e4m3' && { globalScale: 1 }),
    read: (start, end) => readMicroBlock(parts, scheme.scaleDType === 'f8_e8m0', bits, start, end),
    byteLengthOfRows: (start, end) => (bytes / shape[0]) * (end - start),
  });
  return { weight, names: [codes.name, scales.name] };
}

/** The shape of the dense weight: words and groups of a row must fit. */
function requireShape(
  { module, codes, scales }: Parts,
  scaleDTypes: readonly StoredTensor['dtype'][],
  bits: number,
  groupSize: number,
): readonly [rows: number, columns: number] {
  const fault = (why: string) => mlxFaults.tensors(module, codes.file, why);
  const [rows, words] = mlxFaults.requireMatrix(codes, module, ['u32']);
  const [scaleRows, groups] = mlxFaults.requireMatrix(scales, module, scaleDTypes);
  if (scaleRows !== rows) throw fault(`scales [${scales.shape.join(', ')}] must be of ${rows} rows`);
  if (words * 32 !== groups * groupSize * bits) {
    throw fault(`${words} words and ${groups} groups of a row are no ${bits} bits in groups of ${groupSize}`);
  }
  return [rows, groups * groupSize];
}

/** Rows `start` to `end` of a stored tensor. */
function rowsOf({ source, byteLength, shape }: StoredTensor, start: number, end: number): Promise<Uint8Array> {
  const rowBytes = byteLength / shape[0]!;
  return source.read(rowBytes * start, rowBytes * (end - start));
}

/** @throws PithError `MLX_TENSORS_INVALID` for scales and biases that are not numbers. */
async function readAffineBlock(
  { module, codes, scales, biases }: AffineParts,
  [, columns]: readonly [number, number],
  { bits, scaleDType }: AffineScheme,
  start: number,
  end: number,
): Promise<CodeBlock> {
  const parts = [codes, scales, biases].map((part) => rowsOf(part, start, end));
  const [words, scaleBytes, biasBytes] = (await Promise.all(parts)) as [Uint8Array, Uint8Array, Uint8Array];
  const signed = unpack(wordsOf(words), { rows: end - start, columns, bits });
  const half = 2 ** (bits - 1);
  const unsigned = new Uint8Array(signed.buffer);
  for (let i = 0; i < unsigned.length; i += 1) unsigned[i] = signed[i]! + half;
  const numbers = (part: StoredTensor, bytes: Uint8Array) =>
    mlxFaults.requireFinite(toF32(scaleDType, bytes), module, part, start * part.shape[1]!);
  return { codes: unsigned, scales: numbers(scales, scaleBytes), biases: numbers(biases, biasBytes) };
}

/** @throws PithError `MLX_TENSORS_INVALID` for scales that are not numbers. */
async function readMicroBlock(
  { module, codes, scales }: Parts,
  exponents: boolean,
  bits: number,
  start: number,
  end: number,
): Promise<CodeBlock> {
  const [bytes, scaleBytes] = await Promise.all([rowsOf(codes, start, end), rowsOf(scales, start, end)]);
  const values = exponents ? e8m0ToF32(scaleBytes) : toF32('f8_e4m3', scaleBytes);
  mlxFaults.requireFinite(values, module, scales, start * scales.shape[1]!);
  return { codes: bits === 4 ? unpackNibbles(bytes) : bytes, scales: values };
}

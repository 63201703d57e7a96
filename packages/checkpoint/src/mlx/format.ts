// MLX's affine codes as a format: what mlx-lm and MLX Swift load.
//
// | tensor   | dtype         | shape                       |
// | -------- | ------------- | --------------------------- |
// | `weight` | u32           | [rows, columns * bits / 32] |
// | `scales` | of the scheme | [rows, groups]              |
// | `biases` | of the scheme | [rows, groups]              |
//
// `value = code * scale + bias` with codes from 0. Integer codes with zero points are the same with
// `bias = -(zero point + 2^(bits-1)) * scale`, rounded to the dtype of the scales.
//
// Source: golden/mlx (MLX 0.32.4, mlx-lm 0.32.2).
import {
  fromF32,
  pack,
  PithError,
  type AffineScheme,
  type IntegerScheme,
  type QuantizedWeight,
} from '@pith/tensor-core';
import type { StoredChunk } from '../compressed-tensors/encode-block.ts';
import type { FormatConfig, FormatContext, FormatTensor, StoredShape, WeightFormat } from '../formats/weight-format.ts';
import { requireModule, storedTensor } from '../formats/write-modules.ts';
import type { JsonObject, JsonValue } from '../json/parse-json.ts';
import { MLX_BITS, MLX_GROUPS } from './mlx-config.ts';

/** Codes of a chunk. */
const BLOCK_CODES = 4 * 1024 * 1024;

/** Weights as MLX stores them. */
export const mlx: WeightFormat = Object.freeze<WeightFormat>({ name: 'mlx', tensors, chunks, config });

interface Layout {
  readonly module: string;
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly scheme: AffineScheme | IntegerScheme;
}

function layoutOf(weight: StoredShape, { activations }: FormatContext): Layout {
  const { name, shape, scheme } = weight;
  const fail = (what: string, why: string) =>
    new PithError(`MLX_${what}_UNSUPPORTED`, `store "${name}" as mlx: ${why}`, {
      details: { tensor: name, shape, scheme },
    });
  const { module, rows, columns } = requireModule(weight, fail);
  if (scheme.kind !== 'int' && scheme.kind !== 'affine') {
    throw fail('SCHEME', 'the format holds integer codes, got others; choose a scheme like w4g64');
  }
  if (weight.activations !== undefined || activations === true) {
    throw fail('SCHEME', 'the format says nothing of activations, got quantized ones; use compressed-tensors');
  }
  if (weight.groupIndex !== undefined) {
    throw fail('SCHEME', 'the format has no order of columns (act-order); quantize with actOrder weight, or use gptq');
  }
  const size = scheme.granularity.kind === 'group' ? scheme.granularity.size : undefined;
  if (!MLX_BITS.includes(scheme.bits) || size === undefined || !MLX_GROUPS.includes(size)) {
    throw fail(
      'SCHEME',
      `codes must have ${MLX_BITS.join(', ')} bits in groups of ${MLX_GROUPS.join(', ')}, got ${scheme.bits} bits ` +
        `${size === undefined ? 'without groups' : `in groups of ${size}`}; choose a scheme like w4g64`,
    );
  }
  if (columns % size !== 0) {
    throw fail(
      'SHAPE',
      `groups of ${size} must divide the ${columns} columns; choose a size that does, or leave it dense`,
    );
  }
  return { module, rows, columns, groups: columns / size, scheme };
}

function tensors(weight: StoredShape, context: FormatContext): readonly FormatTensor[] {
  const { module, rows, columns, groups, scheme } = layoutOf(weight, context);
  return [
    storedTensor(`${module}.weight`, 'u32', [rows, (columns * scheme.bits) / 32]),
    storedTensor(`${module}.scales`, scheme.scaleDType, [rows, groups]),
    storedTensor(`${module}.biases`, scheme.scaleDType, [rows, groups]),
  ];
}

async function* chunks(weight: QuantizedWeight, context: FormatContext): AsyncGenerator<StoredChunk> {
  const { module, rows, columns, groups, scheme } = layoutOf(weight, context);
  const { bits, scaleDType } = scheme;
  const half = 2 ** (bits - 1);
  const step = Math.max(1, Math.floor(BLOCK_CODES / columns));
  const width = scaleDType === 'f32' ? 4 : 2;
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    const { codes, scales, biases, zeroPoints } = await weight.block(start, end);
    const signed = scheme.kind === 'int' ? (codes as Int8Array) : Int8Array.from(codes, (code) => code - half);
    const words = pack(signed, { rows: end - start, columns, bits });
    const offsets = biases ?? scales.map((scale, i) => -((zeroPoints?.[i] ?? 0) + half) * scale);
    const at = start * groups * width;
    yield { name: `${module}.weight`, offset: (start * columns * bits) / 8, bytes: new Uint8Array(words.buffer) };
    yield { name: `${module}.scales`, offset: at, bytes: fromF32(scaleDType, scales) };
    yield { name: `${module}.biases`, offset: at, bytes: fromF32(scaleDType, offsets) };
  }
}

/** Bits and groups of most modules for all, those of others under their paths; dense modules have no scales. */
function config(weights: readonly StoredShape[]): FormatConfig {
  const codings = weights.map(({ name, scheme }) => {
    const { bits, granularity } = scheme as AffineScheme;
    return { module: name.slice(0, -'.weight'.length), bits, size: granularity.size };
  });
  const counts = new Map<string, number>();
  const key = ({ bits, size }: (typeof codings)[number]) => `${bits} ${size}`;
  for (const coding of codings) counts.set(key(coding), (counts.get(key(coding)) ?? 0) + 1);
  const most = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  const common = codings.find((coding) => key(coding) === most)!;
  const said: Record<string, JsonValue> = { group_size: common.size, bits: common.bits, mode: 'affine' };
  for (const coding of codings) {
    if (key(coding) !== most) said[coding.module] = { group_size: coding.size, bits: coding.bits, mode: 'affine' };
  }
  const both: JsonObject = said;
  return { members: { quantization: both, quantization_config: both }, files: {} };
}

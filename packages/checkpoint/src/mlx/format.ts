// MLX's quantized weights as a format: what mlx-lm and MLX Swift load.
//
// | tensor   | dtype             | shape                       |
// | -------- | ----------------- | --------------------------- |
// | `weight` | u32               | [rows, columns * bits / 32] |
// | `scales` | of the scheme, u8 | [rows, groups]              |
// | `biases` | of the scheme     | [rows, groups]              |
//
// Affine codes: `value = code * scale + bias` with codes from 0. Integer codes with zero points are the same with
// `bias = -(zero point + 2^(bits-1)) * scale`, rounded to the dtype of the scales. Floating-point codes (`micro-modes.ts`) have
// scales in bytes and no biases.
//
// Source: golden/mlx (MLX 0.32.4, mlx-lm 0.32.2).
import {
  f32ToE8m0,
  fromF32,
  pack,
  packNibbles,
  PithError,
  type AffineScheme,
  type CodeBlock,
  type FloatScheme,
  type IntegerScheme,
  type QuantizedWeight,
} from '@pith/tensor-core';
import type { StoredChunk } from '../compressed-tensors/encode-block.ts';
import type { FormatConfig, FormatContext, FormatTensor, StoredShape, WeightFormat } from '../formats/weight-format.ts';
import { requireModule, storedTensor, type Fail } from '../formats/write-modules.ts';
import type { JsonObject, JsonValue } from '../json/parse-json.ts';
import { MICRO_MODES, microModeOf } from './micro-modes.ts';
import { MLX_BITS, MLX_GROUPS } from './mlx-config.ts';

/** Codes of a chunk. */
const BLOCK_CODES = 4 * 1024 * 1024;

/** Weights as MLX stores them. */
export const mlx: WeightFormat = Object.freeze<WeightFormat>({
  name: 'mlx',
  tensors,
  chunks,
  config,
});

interface Layout {
  readonly module: string;
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly bits: number;
  readonly scheme: AffineScheme | IntegerScheme | FloatScheme;
}

function layoutOf(weight: StoredShape, { activations }: FormatContext): Layout {
  const { name, shape, scheme } = weight;
  const fail = (what: string, why: string) =>
    new PithError(`MLX_${what}_UNSUPPORTED`, `store "${name}" as mlx: ${why}`, {
      details: { tensor: name, shape, scheme },
    });
  const { module, rows, columns } = requireModule(weight, fail);
  if (weight.activations !== undefined || activations === true) {
    throw fail('SCHEME', 'the format says nothing of activations, got quantized ones; use compressed-tensors');
  }
  if (weight.groupIndex !== undefined) {
    throw fail('SCHEME', 'the format has no order of columns (act-order); quantize with actOrder weight, or use gptq');
  }
  const { bits, size } = codingOf(weight, fail);
  if (columns % size !== 0) {
    throw fail(
      'SHAPE',
      `groups of ${size} must divide the ${columns} columns; choose a size that does, or leave it dense`,
    );
  }
  return { module, rows, columns, groups: columns / size, bits, scheme: scheme as Layout['scheme'] };
}

/** Bits and columns of a group. @throws what `fail` makes for codes that MLX does not have */
function codingOf({ scheme, globalScale }: StoredShape, fail: Fail): { readonly bits: number; readonly size: number } {
  if (scheme.kind === 'table') throw fail('SCHEME', 'the format holds no codes of a table; choose a scheme like w4g64');
  if (scheme.kind === 'float') {
    const micro = microModeOf(scheme);
    if (micro === undefined) {
      const known = Object.keys(MICRO_MODES).join(', ');
      throw fail('SCHEME', `of floating-point codes it holds ${known}, got others; choose one of them, or w8g64`);
    }
    if (micro.name === 'nvfp4' && globalScale !== 1) {
      throw fail(
        'SCHEME',
        'its nvfp4 has no scale of the whole tensor, the codes of a method have one; let the format round ' +
          '(pith export --format mlx:nvfp4), or choose mxfp4',
      );
    }
    return { bits: micro.bits, size: micro.groupSize };
  }
  const size = scheme.granularity.kind === 'group' ? scheme.granularity.size : undefined;
  if (!MLX_BITS.includes(scheme.bits) || size === undefined || !MLX_GROUPS.includes(size)) {
    throw fail(
      'SCHEME',
      `codes must have ${MLX_BITS.join(', ')} bits in groups of ${MLX_GROUPS.join(', ')}, got ${scheme.bits} bits ` +
        `${size === undefined ? 'without groups' : `in groups of ${size}`}; choose a scheme like w4g64`,
    );
  }
  return { bits: scheme.bits, size };
}

function tensors(weight: StoredShape, context: FormatContext): readonly FormatTensor[] {
  const { module, rows, columns, groups, bits, scheme } = layoutOf(weight, context);
  const codes = storedTensor(`${module}.weight`, 'u32', [rows, (columns * bits) / 32]);
  if (scheme.kind === 'float') return [codes, storedTensor(`${module}.scales`, 'u8', [rows, groups])];
  return [
    codes,
    storedTensor(`${module}.scales`, scheme.scaleDType, [rows, groups]),
    storedTensor(`${module}.biases`, scheme.scaleDType, [rows, groups]),
  ];
}

async function* chunks(weight: QuantizedWeight, context: FormatContext): AsyncGenerator<StoredChunk> {
  const layout = layoutOf(weight, context);
  const { module, rows, columns, groups, bits, scheme } = layout;
  const step = Math.max(1, Math.floor(BLOCK_CODES / columns));
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    const block = await weight.block(start, end);
    const made =
      scheme.kind === 'float' ? encodeMicro(block, bits, scheme) : encodeAffine(block, end - start, columns, scheme);
    yield { name: `${module}.weight`, offset: (start * columns * bits) / 8, bytes: made.codes };
    for (const [suffix, bytes] of Object.entries(made.perGroup)) {
      const width = bytes.length / ((end - start) * groups);
      yield { name: `${module}.${suffix}`, offset: start * groups * width, bytes };
    }
  }
}

interface Encoded {
  readonly codes: Uint8Array;
  /** Bytes of what each group has, by the last part of its name. */
  readonly perGroup: Readonly<Record<string, Uint8Array>>;
}

function encodeAffine(block: CodeBlock, rows: number, columns: number, scheme: AffineScheme | IntegerScheme): Encoded {
  const { bits, scaleDType } = scheme;
  const { codes, scales, biases, zeroPoints } = block;
  const half = 2 ** (bits - 1);
  const signed = scheme.kind === 'int' ? (codes as Int8Array) : Int8Array.from(codes, (code) => code - half);
  const offsets = biases ?? scales.map((scale, i) => -((zeroPoints?.[i] ?? 0) + half) * scale);
  return {
    codes: new Uint8Array(pack(signed, { rows, columns, bits }).buffer),
    perGroup: { scales: fromF32(scaleDType, scales), biases: fromF32(scaleDType, offsets) },
  };
}

function encodeMicro({ codes, scales }: CodeBlock, bits: number, { scaleDType }: FloatScheme): Encoded {
  const bytes = new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
  return {
    codes: bits === 4 ? packNibbles(bytes) : bytes,
    perGroup: { scales: scaleDType === 'f8_e8m0' ? f32ToE8m0(scales) : fromF32('f8_e4m3', scales) },
  };
}

/** Mode, bits and groups of most modules for all, those of others under their paths; dense modules have no scales. */
function config(weights: readonly StoredShape[]): FormatConfig {
  const codings = weights.map(({ name, scheme }) => {
    const micro = microModeOf(scheme);
    const { bits, granularity } = scheme as AffineScheme;
    const said = micro
      ? { group_size: micro.groupSize, bits: micro.bits, mode: micro.name }
      : { group_size: granularity.size, bits, mode: 'affine' };
    return { module: name.slice(0, -'.weight'.length), key: JSON.stringify(said), said };
  });
  const counts = new Map<string, number>();
  for (const { key } of codings) counts.set(key, (counts.get(key) ?? 0) + 1);
  const most = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  const all: Record<string, JsonValue> = { ...(JSON.parse(most) as JsonObject) };
  for (const { module, key, said } of codings) if (key !== most) all[module] = said;
  const both: JsonObject = all;
  return { members: { quantization: both, quantization_config: both }, files: {} };
}

// HQQ as a format: the tensors of an `HQQLinear` under the path of its module, as hqq saves and loads them.
//
// | tensor                              | dtype         | shape                                           |
// | ----------------------------------- | ------------- | ----------------------------------------------- |
// | `W_q`                               | u8, i32       | [packed groups, columns of a group], `packing.ts` |
// | `scale`, `zero`                     | of the scheme | [groups, 1]                                     |
// | `shape`                             | i64           | [2]                                             |
// | `nbits`, `group_size`, `axis`       | i32           | []                                              |
// | `packing`, `compute_dtype`, ...     | u8            | letters, or [] for a flag                       |
//
// Groups lie along the rows (axis 1), which is what fast kernels and vLLM want. `value = (code - zero) * scale` with codes from 0;
// zero points are those of integer codes, or `-bias / scale` of affine ones, rounded to the dtype of the scales.
//
// Source: hqq 0.2.8.
import { fromF32, PithError, type AffineScheme, type IntegerScheme, type QuantizedWeight } from '@pith/tensor-core';
import type { StoredChunk } from '../compressed-tensors/encode-block.ts';
import type { FormatConfig, FormatContext, FormatTensor, StoredShape, WeightFormat } from '../formats/weight-format.ts';
import { mixedWeights, requireModule, storedTensor } from '../formats/write-modules.ts';
import type { JsonObject } from '../json/parse-json.ts';
import { HQQ_DTYPES } from './hqq-config.ts';
import { packedRows, packHqq, packingOf, type Packing } from './packing.ts';

/** Codes that are read at a time. */
const BLOCK_CODES = 4 * 1024 * 1024;
/** Bits that hqq has. */
const HQQ_BITS: readonly number[] = [2, 3, 4, 5, 6, 8];

/** Weights as hqq stores them. */
export const hqq: WeightFormat = Object.freeze<WeightFormat>({
  name: 'hqq',
  scaleDType: 'f16',
  tensors,
  chunks,
  config,
});

interface Layout {
  readonly module: string;
  readonly rows: number;
  readonly columns: number;
  readonly size: number;
  readonly packing: Packing;
  readonly scheme: AffineScheme | IntegerScheme;
}

function layoutOf(weight: StoredShape, { activations }: FormatContext): Layout {
  const { name, shape, scheme } = weight;
  const fail = (what: string, why: string) =>
    new PithError(`HQQ_${what}_UNSUPPORTED`, `store "${name}" as hqq: ${why}`, {
      details: { tensor: name, shape, scheme },
    });
  const { module, rows, columns } = requireModule(weight, fail);
  if (scheme.kind !== 'int' && scheme.kind !== 'affine') {
    throw fail('SCHEME', 'the format holds integer codes, got others; choose a scheme like w4g64-asym');
  }
  if (weight.activations !== undefined || activations === true) {
    throw fail('SCHEME', 'the format says nothing of activations, got quantized ones; use compressed-tensors');
  }
  if (weight.groupIndex !== undefined) {
    throw fail('SCHEME', 'the format has no order of columns (act-order); quantize with actOrder weight, or use gptq');
  }
  const { granularity, bits } = scheme;
  if (granularity.kind !== 'group' && granularity.kind !== 'channel') {
    throw fail('SCHEME', `there must be a scale for each channel or group, got one for each ${granularity.kind}`);
  }
  const packing = HQQ_BITS.includes(bits) ? packingOf(bits) : undefined;
  if (packing === undefined) throw fail('SCHEME', `codes must have ${HQQ_BITS.join(', ')} bits, got ${bits}`);
  const size = granularity.kind === 'group' ? granularity.size : columns;
  if (columns % size !== 0) {
    throw fail('SHAPE', `groups of ${size} must divide the ${columns} columns; choose a size that does`);
  }
  const groups = (rows * columns) / size;
  if (!Number.isInteger(packedRows(packing, groups))) {
    throw fail('SHAPE', `${packing.perWord} groups share a byte, got ${groups} of them; leave it dense (ignore)`);
  }
  return { module, rows, columns, size, packing, scheme };
}

/** The numbers and words of a module, in the order in which hqq saves them: dtype, shape and value. */
function factsOf({ scheme, size, packing, rows, columns }: Layout): readonly (readonly [string, Fact])[] {
  const { bits, scaleDType } = scheme;
  return [
    ['nbits', number(bits)],
    ['group_size', number(size)],
    [
      'shape',
      { dtype: 'i64', shape: [2], bytes: new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(columns)).buffer) },
    ],
    ['axis', number(1)],
    ['packing', word(packing.name)],
    ['unpack_view_dtype', word(packing.wordBytes === 4 ? 'torch.int32' : 'torch.uint8')],
    ['view_as_float', flag(false)],
    ['quant_scale', flag(false)],
    ['quant_zero', flag(false)],
    ['compute_dtype', word(HQQ_DTYPES[scaleDType])],
    ['offload_meta', flag(false)],
    ['encoded_state_dict', flag(true)],
    ['stores_quant_config', flag(true)],
    ['channel_wise', flag(true)],
    ['optimize', flag(true)],
    ['round_zero', flag(bits === 4)],
  ];
}

interface Fact {
  readonly dtype: 'i32' | 'i64' | 'u8';
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}
const number = (value: number): Fact => ({
  dtype: 'i32',
  shape: [],
  bytes: new Uint8Array(Int32Array.of(value).buffer),
});
const flag = (value: boolean): Fact => ({ dtype: 'u8', shape: [], bytes: Uint8Array.of(Number(value)) });
const word = (text: string): Fact => {
  const bytes = new TextEncoder().encode(text);
  return { dtype: 'u8', shape: [bytes.length], bytes };
};

function tensors(weight: StoredShape, context: FormatContext): readonly FormatTensor[] {
  const layout = layoutOf(weight, context);
  const { module, rows, columns, size, packing, scheme } = layout;
  const groups = (rows * columns) / size;
  return [
    storedTensor(`${module}.W_q`, packing.wordBytes === 4 ? 'i32' : 'u8', [packedRows(packing, groups), size]),
    storedTensor(`${module}.scale`, scheme.scaleDType, [groups, 1]),
    storedTensor(`${module}.zero`, scheme.scaleDType, [groups, 1]),
    ...factsOf(layout).map(([suffix, { dtype, shape }]) => storedTensor(`${module}.${suffix}`, dtype, shape)),
  ];
}

async function* chunks(weight: QuantizedWeight, context: FormatContext): AsyncGenerator<StoredChunk> {
  const layout = layoutOf(weight, context);
  const { module, rows, columns, size, packing, scheme } = layout;
  const groups = (rows * columns) / size;
  const half = 2 ** (scheme.bits - 1);
  const codes = new Uint8Array(rows * columns);
  const scales = new Float32Array(groups);
  const zeros = new Float32Array(groups);
  const step = Math.max(1, Math.floor(BLOCK_CODES / columns));
  for (let start = 0; start < rows; start += step) {
    const block = await weight.block(start, Math.min(rows, start + step));
    const [at, first] = [start * columns, (start * columns) / size];
    const shift = scheme.kind === 'int' ? half : 0;
    for (let i = 0; i < block.codes.length; i += 1) codes[at + i] = block.codes[i]! + shift;
    scales.set(block.scales, first);
    for (let i = 0; i < block.scales.length; i += 1) {
      const scale = block.scales[i]!;
      zeros[first + i] = block.biases
        ? scale === 0
          ? 0
          : -block.biases[i]! / scale
        : (block.zeroPoints?.[i] ?? 0) + half;
    }
  }
  yield { name: `${module}.W_q`, offset: 0, bytes: packHqq(codes, groups, size, packing) };
  yield { name: `${module}.scale`, offset: 0, bytes: fromF32(scheme.scaleDType, scales) };
  yield { name: `${module}.zero`, offset: 0, bytes: fromF32(scheme.scaleDType, zeros) };
  for (const [suffix, { bytes }] of factsOf(layout)) yield { name: `${module}.${suffix}`, offset: 0, bytes };
}

function config(weights: readonly StoredShape[], { ignore = [] }: FormatContext): FormatConfig {
  const key = ({ scheme }: StoredShape) => {
    const { bits, granularity } = scheme as IntegerScheme;
    return `${bits} bits ${granularity.kind === 'group' ? `in groups of ${granularity.size}` : 'by channel'}`;
  };
  mixedWeights('hqq', 'HQQ', weights, key);
  const { bits, granularity } = weights[0]!.scheme as IntegerScheme;
  const said: JsonObject = {
    quant_config: {
      offload_meta: false,
      scale_quant_params: null,
      weight_quant_params: {
        axis: 1,
        channel_wise: true,
        group_size: granularity.kind === 'group' ? granularity.size : null,
        nbits: bits,
        optimize: true,
        round_zero: bits === 4,
        view_as_float: false,
      },
      zero_quant_params: null,
    },
    quant_method: 'hqq',
    skip_modules: [...ignore],
  };
  return { members: { quantization_config: said }, files: {} };
}

// GPTQ as a format: `qweight`, `qzeros`, `scales` and `g_idx` under the path of a module, and what config.json must say for
// transformers, GPTQModel and vLLM to load them.
//
// | tensor    | dtype | shape                          |
// | --------- | ----- | ------------------------------ |
// | `qweight` | i32   | [inputs * bits / 32, outputs]  |
// | `qzeros`  | i32   | [groups, outputs * bits / 32]  |
// | `scales`  | f16   | [groups, outputs]              |
// | `g_idx`   | i32   | [inputs]                       |
//
// Version 1 stores zero points less 1 and so cannot hold a zero point of 0: symmetric weights, which have none, are written
// as version 1, which every loader reads, others as version 2 (`checkpoint_format: "gptq_v2"`).
//
// Source: golden/gptq (auto-gptq 0.7.1, GPTQModel 7.7).
import { fromF32, pack, PithError, type CodeBlock, type IntegerScheme, type QuantizedWeight } from '@pith/tensor-core';
import type { StoredChunk } from '../compressed-tensors/encode-block.ts';
import type { FormatConfig, FormatContext, FormatTensor, StoredShape, WeightFormat } from '../formats/weight-format.ts';
import { intoHalf, mixedWeights, requireIntegers, storedTensor } from '../formats/write-modules.ts';
import { turn } from '../formats/turned-words.ts';
import type { JsonObject } from '../json/parse-json.ts';
import { printJson } from '../json/set-members.ts';
import { GPTQ_BITS } from './gptq-config.ts';

/** Codes that are unpacked at a time. */
const BLOCK_CODES = 4 * 1024 * 1024;

/** Weights as GPTQ stores them. */
export const gptq: WeightFormat = Object.freeze<WeightFormat>({
  name: 'gptq',
  scaleDType: 'f16',
  tensors,
  chunks,
  config,
});

interface Layout {
  readonly module: string;
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly scheme: IntegerScheme;
}

function layoutOf(weight: StoredShape, context: FormatContext): Layout {
  const layout = requireIntegers(weight, context, { format: 'gptq', code: 'GPTQ', bits: GPTQ_BITS });
  const { rows, columns, scheme } = layout;
  for (const [what, count] of [['inputs', columns] as const, ['outputs', rows] as const]) {
    if ((count * scheme.bits) % 32 === 0) continue;
    throw new PithError(
      'GPTQ_SHAPE_UNSUPPORTED',
      `store "${weight.name}" as gptq: its ${count} ${what} must fill words of 32 bits with codes of ${scheme.bits}; leave ` +
        'it dense (ignore), or choose other bits',
      { details: { tensor: weight.name, shape: weight.shape, bits: scheme.bits } },
    );
  }
  return layout;
}

function tensors(weight: StoredShape, context: FormatContext): readonly FormatTensor[] {
  const { module, rows, columns, groups, scheme } = layoutOf(weight, context);
  return [
    storedTensor(`${module}.qweight`, 'i32', [(columns * scheme.bits) / 32, rows]),
    storedTensor(`${module}.qzeros`, 'i32', [groups, (rows * scheme.bits) / 32]),
    storedTensor(`${module}.scales`, 'f16', [groups, rows]),
    storedTensor(`${module}.g_idx`, 'i32', [columns]),
  ];
}

async function* chunks(weight: QuantizedWeight, context: FormatContext): AsyncGenerator<StoredChunk> {
  const { module, rows, columns, groups, scheme } = layoutOf(weight, context);
  const { bits } = scheme;
  const wordsPerRow = (columns * bits) / 32;
  const words = new Int32Array(rows * wordsPerRow);
  const scales = new Float32Array(rows * groups);
  const zeros = new Int8Array(rows * groups);
  const step = Math.max(1, Math.floor(BLOCK_CODES / columns));
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    const block: CodeBlock = await weight.block(start, end);
    words.set(pack(block.codes as Int8Array, { rows: end - start, columns, bits }), start * wordsPerRow);
    scales.set(block.scales, start * groups);
    if (block.zeroPoints) zeros.set(block.zeroPoints, start * groups);
  }
  const half = intoHalf(scales, weight.name, 'gptq');
  const one = (suffix: string, values: Int32Array | Uint8Array): StoredChunk => ({
    name: `${module}.${suffix}`,
    offset: 0,
    bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  });
  yield one('qweight', turn(words, rows, wordsPerRow));
  yield one('qzeros', packZeros(turn(zeros, rows, groups), { rows, groups, scheme, name: weight.name }));
  yield one('scales', fromF32('f16', turn(half, rows, groups)));
  const index =
    weight.groupIndex ?? Int32Array.from({ length: columns }, (_, column) => Math.floor((column * groups) / columns));
  yield one('g_idx', index);
}

interface Zeros extends Pick<Layout, 'rows' | 'groups' | 'scheme'> {
  readonly name: string;
}

/** Words of zero points [groups, rows]: less 1 where there are none, which is version 1. */
function packZeros(zeros: Int8Array, { rows, groups, scheme, name }: Zeros): Int32Array {
  const { bits, symmetric } = scheme;
  const stored = symmetric ? zeros.fill(-1) : zeros;
  const wrong = stored.findIndex((zero) => zero >= 2 ** (bits - 1));
  if (wrong >= 0) {
    throw new PithError(
      'GPTQ_ZERO_UNSUPPORTED',
      `store "${name}" as gptq: zero points must be codes, 0 to ${2 ** bits - 1}, output ${wrong % rows} has ` +
        `${stored[wrong]! + 2 ** (bits - 1)}; quantize it again`,
      { details: { tensor: name } },
    );
  }
  return pack(stored, { rows: groups, columns: rows, bits });
}

function config(weights: readonly StoredShape[], { ignore = [] }: FormatContext): FormatConfig {
  const [first] = weights;
  const key = ({ scheme }: StoredShape) => {
    const { bits, symmetric, granularity } = scheme as IntegerScheme;
    return `w${bits}${granularity.kind === 'group' ? `g${granularity.size}` : ''}${symmetric ? '' : '-asym'}`;
  };
  mixedWeights('gptq', 'GPTQ', weights, key);
  const { bits, symmetric, granularity } = first!.scheme as IntegerScheme;
  const head = weights.some(({ name }) => name === 'lm_head.weight');
  const kept = ignore.filter((path) => path !== 'lm_head');
  const said: JsonObject = {
    bits,
    checkpoint_format: symmetric ? 'gptq' : 'gptq_v2',
    desc_act: weights.some(({ groupIndex }) => groupIndex !== undefined),
    // Linears inside of the blocks that stay dense, for GPTQModel and vLLM: a minus before a pattern leaves a module alone.
    ...(kept.length > 0 && {
      dynamic: Object.fromEntries(kept.map((path) => [`-:^${path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`, {}])),
    }),
    group_size: granularity.kind === 'group' ? granularity.size : -1,
    lm_head: head,
    pack_dtype: 'int32',
    quant_method: 'gptq',
    sym: symmetric,
  };
  return { members: { quantization_config: said }, files: { 'quantize_config.json': `${printJson(said)}\n` } };
}

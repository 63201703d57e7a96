// AWQ's GEMM layout as a format: what AutoAWQ, transformers and vLLM load.
//
// | tensor    | dtype | shape                 |
// | --------- | ----- | --------------------- |
// | `qweight` | i32   | [inputs, outputs / 8] |
// | `qzeros`  | i32   | [groups, outputs / 8] |
// | `scales`  | f16   | [groups, outputs]     |
//
// Source: golden/awq (AutoAWQ 0.2.9).
import { fromF32, PithError, type IntegerScheme, type QuantizedWeight } from '@pith/tensor-core';
import type { StoredChunk } from '../compressed-tensors/encode-block.ts';
import { turn } from '../formats/turned-words.ts';
import type { FormatConfig, FormatContext, FormatTensor, StoredShape, WeightFormat } from '../formats/weight-format.ts';
import { intoHalf, mixedWeights, requireIntegers, storedTensor, type IntegerLayout } from '../formats/write-modules.ts';
import type { JsonObject } from '../json/parse-json.ts';
import { printJson } from '../json/set-members.ts';
import { packLanes } from './lanes.ts';

/** Codes that are turned at a time. */
const BLOCK_CODES = 4 * 1024 * 1024;

/** Weights as AutoAWQ stores them. */
export const awq: WeightFormat = Object.freeze<WeightFormat>({
  name: 'awq',
  scaleDType: 'f16',
  tensors,
  chunks,
  config,
});

function layoutOf(weight: StoredShape, context: FormatContext): IntegerLayout {
  const layout = requireIntegers(weight, context, { format: 'awq', code: 'AWQ', bits: [4] });
  const fail = (what: string, why: string) =>
    new PithError(`AWQ_${what}_UNSUPPORTED`, `store "${weight.name}" as awq: ${why}`, {
      details: { tensor: weight.name, shape: weight.shape },
    });
  if (layout.rows % 8 !== 0) {
    throw fail('SHAPE', `eight outputs share a word, got ${layout.rows} of them; leave it dense (ignore)`);
  }
  if (weight.groupIndex !== undefined) {
    throw fail('SCHEME', 'the format has no order of columns (act-order); quantize with actOrder weight, or use gptq');
  }
  if (weight.name === 'lm_head.weight') {
    throw fail('NAME', 'loaders keep the output projection dense; leave "lm_head" out of the include patterns');
  }
  return layout;
}

function tensors(weight: StoredShape, context: FormatContext): readonly FormatTensor[] {
  const { module, rows, columns, groups } = layoutOf(weight, context);
  return [
    storedTensor(`${module}.qweight`, 'i32', [columns, rows / 8]),
    storedTensor(`${module}.qzeros`, 'i32', [groups, rows / 8]),
    storedTensor(`${module}.scales`, 'f16', [groups, rows]),
  ];
}

async function* chunks(weight: QuantizedWeight, context: FormatContext): AsyncGenerator<StoredChunk> {
  const { module, rows, columns, groups } = layoutOf(weight, context);
  // Eight outputs of a word lie together: words of a block of outputs are a strip of columns of the result.
  const words = new Int32Array((columns * rows) / 8);
  const scales = new Float32Array(rows * groups);
  const zeros = new Int8Array(rows * groups);
  const step = Math.max(8, Math.floor(BLOCK_CODES / columns / 8) * 8);
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    const block = await weight.block(start, end);
    const strip = packLanes(turn(block.codes as Int8Array, end - start, columns));
    const width = (end - start) / 8;
    for (let column = 0; column < columns; column += 1) {
      words.set(strip.subarray(column * width, (column + 1) * width), column * (rows / 8) + start / 8);
    }
    scales.set(block.scales, start * groups);
    if (block.zeroPoints) zeros.set(block.zeroPoints, start * groups);
  }
  const wrong = zeros.findIndex((zero) => zero < -8 || zero > 7);
  if (wrong >= 0) {
    throw new PithError(
      'AWQ_ZERO_UNSUPPORTED',
      `store "${weight.name}" as awq: zero points must be codes, 0 to 15, output ${Math.floor(wrong / groups)} has ` +
        `${zeros[wrong]! + 8}; quantize it again`,
      { details: { tensor: weight.name } },
    );
  }
  const half = intoHalf(scales, weight.name, 'awq');
  const one = (suffix: string, values: Int32Array | Uint8Array): StoredChunk => ({
    name: `${module}.${suffix}`,
    offset: 0,
    bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  });
  yield one('qweight', words);
  yield one('qzeros', packLanes(turn(zeros, rows, groups)));
  yield one('scales', fromF32('f16', turn(half, rows, groups)));
}

function config(weights: readonly StoredShape[], { ignore = [] }: FormatContext): FormatConfig {
  const size = ({ scheme }: StoredShape) => {
    const { granularity } = scheme as IntegerScheme;
    return granularity.kind === 'group' ? granularity.size : -1;
  };
  mixedWeights('awq', 'AWQ', weights, (weight) => `groups of ${size(weight)}`);
  const said: JsonObject = {
    bits: 4,
    group_size: size(weights[0]!),
    modules_to_not_convert: ignore.length > 0 ? [...ignore] : null,
    quant_method: 'awq',
    version: 'gemm',
    zero_point: true,
  };
  return { members: { quantization_config: said }, files: { 'quantize_config.json': `${printJson(said)}\n` } };
}

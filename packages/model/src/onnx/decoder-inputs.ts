// What stands before the blocks of an exported decoder: from the inputs that runtimes feed (token ids, attention mask, positions,
// cache) to those of the traced program. Nothing here depends on how many tokens there are.
import { fromF32, toF32 } from '@pith/tensor-core';
import type { OnnxModelBuilder } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { alibiSlopes } from '../architecture/ops/alibi.ts';
import { rotaryFrequencies } from '../architecture/ops/rotary.ts';
import type { ModelConfig, RopeConfig } from '../config/model-config.ts';
import { cachePorts, HIDDEN, INPUTS } from './ports.ts';
import { cacheLengths, cacheNames, maskInput, PAST, ropesOf, rotaryInputs, TOTAL } from './trace-decoder.ts';
import { BATCH, IDS, POSITIONS, SEQUENCE } from './trace-parts.ts';
import { castTo } from './write-linear.ts';

/**
 * Declares the inputs of a decoder.
 *
 * @returns What gives the value of an input of the traced program, by its name; undefined for weights.
 */
export function declareInputs(
  builder: OnnxModelBuilder,
  architecture: Architecture,
  cacheDType: 'f32' | 'f16',
): (name: string) => string | undefined {
  const { blocks, config } = architecture;
  builder.input(INPUTS.ids, 'i64', [BATCH, SEQUENCE]);
  builder.input(INPUTS.mask, 'i64', [BATCH, TOTAL]);
  builder.input(INPUTS.positions, 'i64', [BATCH, SEQUENCE]);
  const cached = new Map<string, string>();
  const lengths = cacheLengths(config);
  for (const { index } of blocks) {
    const ports = cachePorts(index).past;
    const names = cacheNames(index).past;
    for (const part of ['keys', 'values'] as const) {
      builder.input(ports[part], cacheDType, [BATCH, config.keyValueHeads, PAST, lengths[part]]);
      cached.set(names[part], ports[part]);
    }
  }
  const known = new Map<string, () => string>();
  ropesOf(architecture).forEach((rope, index) => {
    const names = rotaryInputs(index);
    known.set(names.cos, () => turns(builder, rope, 'Cos'));
    known.set(names.sin, () => turns(builder, rope, 'Sin'));
  });
  for (const { window } of blocks) {
    known.set(maskInput(window), () => withBiases(builder, writeMask(builder, window), config));
  }
  known.set(IDS, () => castTo(builder, INPUTS.ids, 'i32'));
  known.set(POSITIONS, () => writePositions(builder, architecture));
  return (name) => {
    const port = cached.get(name);
    if (port !== undefined) return cacheDType === 'f16' ? castTo(builder, port, 'f32') : port;
    return known.get(name)?.();
  };
}

/** Rows of the table of positions, int32 [batch, sequence]. */
function writePositions(builder: OnnxModelBuilder, { positions }: Architecture): string {
  const ids = castTo(builder, INPUTS.positions, 'i32');
  const offset = positions?.offset ?? 0;
  return offset === 0 ? ids : builder.op('Add', [ids, builder.constant('i32', [], Int32Array.of(offset))]);
}

/** Cosines or sines of the new tokens' angles, f32 [batch, 1, sequence, dim / 2], times what the scaling multiplies them with. */
function turns(builder: OnnxModelBuilder, rope: RopeConfig, opType: 'Cos' | 'Sin'): string {
  const positions = castTo(builder, INPUTS.positions, 'f32');
  const column = builder.op('Unsqueeze', [positions, builder.ints([1, 3])]);
  const values = builder.op(opType, [builder.op('Mul', [column, frequenciesOf(builder, rope)])]);
  const factor = 'attentionFactor' in rope.scaling ? rope.scaling.attentionFactor : 1;
  return factor === 1 ? values : builder.op('Mul', [values, builder.float(factor)]);
}

/** Frequencies f32 [dim / 2]; of some scalings they depend on how long the text is. */
function frequenciesOf(builder: OnnxModelBuilder, rope: RopeConfig): string {
  const { scaling, dim, theta } = rope;
  const constant = (values: Float32Array): string => builder.constant('f32', [values.length], values);
  if (scaling.kind !== 'longrope' && scaling.kind !== 'dynamic') return constant(rotaryFrequencies(rope));
  const { originalMaxPositions: original } = scaling;
  const last = builder.op('ReduceMax', [INPUTS.positions], { attributes: { keepdims: { int: 0 } } });
  const one = builder.constant('i64', [], BigInt64Array.of(1n));
  const length = castTo(builder, builder.op('Add', [last, one]), 'f32');
  if (scaling.kind === 'longrope') {
    const isLong = builder.op('Greater', [length, builder.float(original)]);
    const [long, short] = [original + 1, original].map((tokens) => constant(rotaryFrequencies(rope, tokens)));
    return builder.op('Where', [isLong, long, short]);
  }
  // theta (factor length / original - (factor - 1)) ^ (dim / (dim - 2)), to the powers -2 i / dim.
  const reached = builder.op('Max', [length, builder.float(original)]);
  const share = builder.op('Div', [
    builder.op('Mul', [reached, builder.float(scaling.factor)]),
    builder.float(original),
  ]);
  const grown = builder.op('Sub', [share, builder.float(scaling.factor - 1)]);
  const base = builder.op('Mul', [builder.op('Pow', [grown, builder.float(dim / (dim - 2))]), builder.float(theta)]);
  const powers = Float32Array.from({ length: dim / 2 }, (_, i) => (2 * i) / dim);
  return builder.op('Reciprocal', [builder.op('Pow', [base, constant(powers)])]);
}

/** The mask with the linear biases of each head: f32 [batch, keyValueHeads, heads / keyValueHeads, sequence, total]. */
function withBiases(
  builder: OnnxModelBuilder,
  mask: string,
  { alibi, attentionScale, heads, keyValueHeads }: ModelConfig,
): string {
  if (!alibi) return mask;
  const slopes = alibiSlopes(heads);
  const stored = alibi.roundedToBf16 ? toF32('bf16', fromF32('bf16', slopes)) : slopes;
  // Real tokens are counted from 0, as evaluation does; what stands at padding is never seen.
  const counted = builder.op('CumSum', [INPUTS.mask, builder.constant('i64', [], BigInt64Array.of(1n))]);
  const one = builder.constant('i64', [], BigInt64Array.of(1n));
  const keys = castTo(builder, builder.op('Sub', [counted, one]), 'f32');
  const row = builder.op('Unsqueeze', [keys, builder.ints([1, 2, 3])]);
  let bias = builder.op('Mul', [row, builder.constant('f32', [keyValueHeads, heads / keyValueHeads, 1, 1], stored)]);
  if (alibi.roundedToBf16) bias = castTo(builder, castTo(builder, bias, 'bf16'), 'f32');
  if (alibi.beforeScale) bias = builder.op('Mul', [bias, builder.float(attentionScale)]);
  return builder.op('Add', [mask, bias]);
}

/** f32 [batch, 1, 1, sequence, total]: 0 where a new token sees another, a very negative number where not. */
function writeMask(builder: OnnxModelBuilder, window: number | null): string {
  const length = (input: string): string =>
    builder.op('Squeeze', [builder.op('Shape', [input], { attributes: { start: { int: 1 }, end: { int: 2 } } })]);
  const total = length(INPUTS.mask);
  const past = builder.op('Sub', [total, length(INPUTS.ids)]);
  const [zero, one] = [0, 1].map((value) => builder.constant('i64', [], BigInt64Array.of(BigInt(value))));
  const keys = builder.op('Range', [zero, total, one]);
  const queries = builder.op('Unsqueeze', [builder.op('Range', [past, total, one]), builder.ints([1])]);
  const causal = builder.op('LessOrEqual', [keys, queries]);
  const near =
    window === null
      ? causal
      : builder.op('And', [
          causal,
          builder.op('Greater', [keys, builder.op('Sub', [queries, builder.ints([window])])]),
        ]);
  const real = castTo(builder, INPUTS.mask, 'bool');
  const seen = builder.op('And', [builder.op('Unsqueeze', [real, builder.ints([1, 2, 3])]), near]);
  return builder.op('Where', [seen, builder.float(0), builder.float(HIDDEN)]);
}

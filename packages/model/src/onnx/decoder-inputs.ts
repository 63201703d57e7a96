// What stands before the blocks of an exported decoder: from the inputs that runtimes feed (token ids, attention mask, positions,
// cache) to those of the traced program. Nothing here depends on how many tokens there are.
import type { OnnxModelBuilder } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { rotaryFrequencies } from '../architecture/ops/rotary.ts';
import { BATCH, cacheNames, IDS, maskInput, PAST, ROTARY, SEQUENCE, TOTAL } from './trace-decoder.ts';
import { castTo } from './write-linear.ts';

/** Names of the inputs of an exported decoder, as transformers.js and onnxruntime-genai know them. */
export const INPUTS = { ids: 'input_ids', mask: 'attention_mask', positions: 'position_ids' } as const;

/** Names of the cache of one block in an exported decoder. */
export const cachePorts = (block: number) => ({
  past: { keys: `past_key_values.${block}.key`, values: `past_key_values.${block}.value` },
  present: { keys: `present.${block}.key`, values: `present.${block}.value` },
});

/** Added to the scores of tokens that must not be seen. Finite: a row of padding sees nothing, and must not become NaN. */
const HIDDEN = -3.4028234663852886e38;

const INT32 = 6;
const FLOAT = 1;
const BOOL = 9;

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
  for (const { index } of blocks) {
    const ports = cachePorts(index).past;
    const names = cacheNames(index).past;
    for (const part of ['keys', 'values'] as const) {
      builder.input(ports[part], cacheDType, [BATCH, config.keyValueHeads, PAST, config.headDim]);
      cached.set(names[part], ports[part]);
    }
  }
  const masks = new Map(blocks.map(({ window }) => [maskInput(window), window]));
  const angles = lazy(() => {
    const frequencies = rotaryFrequencies(config.rope, config.headDim);
    const positions = builder.op('Cast', [INPUTS.positions], { attributes: { to: { int: FLOAT } } });
    const column = builder.op('Unsqueeze', [positions, builder.ints([1, 3])]);
    return builder.op('Mul', [column, builder.constant('f32', [frequencies.length], frequencies)]);
  });
  return (name) => {
    if (name === IDS) return builder.op('Cast', [INPUTS.ids], { attributes: { to: { int: INT32 } } });
    if (name === ROTARY.cos) return builder.op('Cos', [angles()]);
    if (name === ROTARY.sin) return builder.op('Sin', [angles()]);
    if (masks.has(name)) return writeMask(builder, masks.get(name)!);
    const port = cached.get(name);
    return port !== undefined && cacheDType === 'f16' ? castTo(builder, port, 'f32') : port;
  };
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
  const real = builder.op('Cast', [INPUTS.mask], { attributes: { to: { int: BOOL } } });
  const seen = builder.op('And', [builder.op('Unsqueeze', [real, builder.ints([1, 2, 3])]), near]);
  return builder.op('Where', [seen, builder.float(0), builder.float(HIDDEN)]);
}

function lazy<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

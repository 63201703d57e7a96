// What attention of a block reads beside hidden states and weights: rotations, mask, biases, as arrays.
import type { HostTensor } from '@pith/tensor-core';
import type { Architecture, BlockSpec } from './architecture.ts';
import { alibiBias } from './ops/alibi.ts';
import { causalMask, openMask } from './ops/masks.ts';
import { rotaryTable } from './ops/rotary.ts';

/** New tokens, and slots for earlier ones. */
export interface AttentionLength {
  /** New tokens of each sequence. */
  readonly tokens: number;
  /** Slots for keys and values of earlier tokens; 0 for none. */
  readonly past: number;
}

/** Shapes of what a block's attention reads, by the names of `AttentionInputs`. */
export function attentionShapes(
  { config }: Architecture,
  { rope }: BlockSpec,
  { tokens, past }: AttentionLength,
): Record<string, number[]> {
  return {
    ...(rope && { cos: [tokens, rope.dim / 2], sin: [tokens, rope.dim / 2] }),
    mask: [tokens, past + tokens],
    ...(config.alibi && { bias: [config.heads, past + tokens] }),
  };
}

/**
 * What a block's attention reads for new tokens at positions `pastUsed` onwards, see `causalMask`.
 *
 * @param textLength Tokens of the text as far as it is known, which stretched rotations depend on; up to the last new token when
 * left out.
 */
export function attentionTensors(
  architecture: Architecture,
  block: BlockSpec,
  length: AttentionLength,
  pastUsed: number,
  textLength = pastUsed + length.tokens,
): Record<string, HostTensor<'f32'>> {
  const { config } = architecture;
  const { tokens, past } = length;
  const { cos, sin } = block.rope ? rotaryTable(block.rope, pastUsed, pastUsed + tokens, textLength) : {};
  const data: Record<string, Float32Array | undefined> = {
    cos,
    sin,
    mask: config.kind === 'encoder' ? openMask(tokens) : causalMask(tokens, past, pastUsed, block.window),
    bias: config.alibi ? alibiBias(config, tokens, past, pastUsed) : undefined,
  };
  return Object.fromEntries(
    Object.entries(attentionShapes(architecture, block, length)).map(([name, shape]) => [
      name,
      { dtype: 'f32' as const, shape, data: data[name]! },
    ]),
  );
}

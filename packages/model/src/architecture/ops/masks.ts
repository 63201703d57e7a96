/**
 * The additive mask of causal attention, optionally with a sliding window.
 *
 * The keys are `past` slots for earlier tokens, of which the first `pastUsed` are filled with positions 0 to
 * `pastUsed`, then the `tokens` new ones at positions `pastUsed` onwards.
 *
 * @param window A token sees itself and the `window - 1` before it; null sees all before it.
 * @returns f32 [tokens, past + tokens] row-major: 0 where the token sees the key, -Infinity where not.
 */
export function causalMask(tokens: number, past: number, pastUsed: number, window: number | null): Float32Array {
  const columns = past + tokens;
  const mask = new Float32Array(tokens * columns).fill(-Infinity);
  const reach = window ?? Infinity;
  for (let row = 0; row < tokens; row++) {
    const position = pastUsed + row;
    const oldest = Math.max(0, position - reach + 1);
    for (let key = oldest; key <= position; key++) {
      mask[row * columns + (key < pastUsed ? key : past + key - pastUsed)] = 0;
    }
  }
  return mask;
}

/** The additive mask where every token sees every token: f32 [tokens, tokens] zeros. */
export function openMask(tokens: number): Float32Array {
  return new Float32Array(tokens * tokens);
}

// Names of inputs and outputs of an exported model, as transformers.js and onnxruntime-genai know them, and what several inputs
// are made with.

/** Names of the inputs. */
export const INPUTS = {
  ids: 'input_ids',
  mask: 'attention_mask',
  positions: 'position_ids',
  segments: 'token_type_ids',
} as const;

/** Names of the outputs beside the cache. */
export const OUTPUTS = { logits: 'logits', states: 'last_hidden_state' } as const;

/** Names of the cache of one block in an exported decoder. */
export const cachePorts = (block: number) => ({
  past: { keys: `past_key_values.${block}.key`, values: `past_key_values.${block}.value` },
  present: { keys: `present.${block}.key`, values: `present.${block}.value` },
});

/** Added to the scores of tokens that must not be seen. Finite: a row of padding sees nothing, and must not become NaN. */
export const HIDDEN = -3.4028234663852886e38;

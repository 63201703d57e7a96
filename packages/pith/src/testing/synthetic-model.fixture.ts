// A small Llama of random bf16 weights, for tests of what happens to files: the values mean nothing.
import { mkdirSync, openSync, closeSync, writeSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { planOutput, type OutputTensor } from '@pith/checkpoint';

/** Sizes of a synthetic model. */
export interface SyntheticOptions {
  readonly layers?: number;
  readonly hidden?: number;
  readonly feedForward?: number;
  readonly vocabulary?: number;
  /** Splits the weights into files of at most so many bytes. */
  readonly shardBytes?: number;
  readonly seed?: number;
}

/** Writes a checkpoint directory; equal options give equal bytes. */
export function writeSyntheticModel(directory: string, options: SyntheticOptions = {}): void {
  const { layers = 4, hidden = 256, feedForward = 768, vocabulary = 512, seed = 1, shardBytes } = options;
  mkdirSync(directory, { recursive: true });
  const tensors: OutputTensor[] = [];
  const add = (name: string, ...shape: number[]): void => void tensors.push({ name, dtype: 'bf16', shape });
  add('model.embed_tokens.weight', vocabulary, hidden);
  for (let layer = 0; layer < layers; layer++) {
    const block = `model.layers.${layer}`;
    add(`${block}.input_layernorm.weight`, hidden);
    for (const [name, rows] of [
      ['q', hidden],
      ['k', hidden / 2],
      ['v', hidden / 2],
      ['o', hidden],
    ] as const) {
      add(`${block}.self_attn.${name}_proj.weight`, rows, hidden);
    }
    add(`${block}.post_attention_layernorm.weight`, hidden);
    add(`${block}.mlp.gate_proj.weight`, feedForward, hidden);
    add(`${block}.mlp.up_proj.weight`, feedForward, hidden);
    add(`${block}.mlp.down_proj.weight`, hidden, feedForward);
  }
  add('model.norm.weight', hidden);
  add('lm_head.weight', vocabulary, hidden);
  const layout = planOutput(tensors, shardBytes === undefined ? {} : { shardBytes });
  let state = seed;
  for (const file of layout.files) {
    const fd = openSync(join(directory, file.name), 'w');
    writeSync(fd, file.head);
    for (const place of file.tensors) {
      const words = new Uint16Array(place.byteLength / 2);
      for (let i = 0; i < words.length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        // Sign, an exponent of 2^-7 to 2^-4, seven bits of mantissa.
        words[i] = ((state >>> 16) & 0x8000) | ((120 + ((state >>> 24) & 3)) << 7) | ((state >>> 8) & 0x7f);
      }
      writeSync(fd, new Uint8Array(words.buffer), 0, place.byteLength, place.offset);
    }
    closeSync(fd);
  }
  if (layout.index !== undefined) writeFileSync(join(directory, layout.index.name), layout.index.text);
  writeFileSync(
    join(directory, 'config.json'),
    JSON.stringify(
      {
        architectures: ['LlamaForCausalLM'],
        model_type: 'llama',
        hidden_size: hidden,
        intermediate_size: feedForward,
        num_hidden_layers: layers,
        num_attention_heads: 8,
        num_key_value_heads: 4,
        vocab_size: vocabulary,
        max_position_embeddings: 512,
        rms_norm_eps: 1e-5,
        tie_word_embeddings: false,
        bos_token_id: 1,
        eos_token_id: 2,
        torch_dtype: 'bfloat16',
      },
      null,
      2,
    ),
  );
  writeFileSync(join(directory, 'generation_config.json'), '{"bos_token_id": 1}\n');
}

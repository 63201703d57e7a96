// A checkpoint of any size to measure on: the shape of TinyLlama 1.1B, bf16, weights that look like weights (normal, with a
// standard deviation of 0.02 and a few outliers), written once and kept in .work/.
import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** The shape of TinyLlama 1.1B; `layers` scales the file: 22 layers are 2.2 GB. */
export const tinyLlama = (layers = 22) => ({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 2048,
  intermediate_size: 5632,
  num_hidden_layers: layers,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  vocab_size: 32000,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: 2,
  torch_dtype: 'bfloat16',
});

/** Names and shapes of the weights of a Llama, in the order in which files of the hub hold them. */
function tensors(config) {
  const { hidden_size: d, intermediate_size: f, vocab_size: v } = config;
  const kv = (d / config.num_attention_heads) * config.num_key_value_heads;
  const list = [['model.embed_tokens.weight', [v, d]]];
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const at = `model.layers.${i}.`;
    list.push(
      [`${at}input_layernorm.weight`, [d]],
      [`${at}mlp.down_proj.weight`, [d, f]],
      [`${at}mlp.gate_proj.weight`, [f, d]],
      [`${at}mlp.up_proj.weight`, [f, d]],
      [`${at}post_attention_layernorm.weight`, [d]],
      [`${at}self_attn.k_proj.weight`, [kv, d]],
      [`${at}self_attn.o_proj.weight`, [d, d]],
      [`${at}self_attn.q_proj.weight`, [d, d]],
      [`${at}self_attn.v_proj.weight`, [kv, d]],
    );
  }
  list.push(['model.norm.weight', [d]], ['lm_head.weight', [v, d]]);
  return list;
}

/**
 * Makes the checkpoint below `work` unless it is there.
 * @param {string} work folder of the benchmark
 * @param {number} layers
 * @returns {{ dir: string, file: string, bytes: number, linearParameters: number }}
 */
export function syntheticCheckpoint(work, layers) {
  const config = tinyLlama(layers);
  const dir = join(work, `tinyllama-${layers}`);
  const file = join(dir, 'model.safetensors');
  let offset = 0;
  let linearParameters = 0;
  const header = { __metadata__: { format: 'pt' } };
  for (const [name, shape] of tensors(config)) {
    const count = shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'BF16', shape, data_offsets: [offset, offset + count * 2] };
    offset += count * 2;
    if (name.endsWith('_proj.weight')) linearParameters += count;
  }
  let json = JSON.stringify(header);
  json = json.padEnd(Math.ceil(json.length / 8) * 8, ' ');
  const result = { dir, file, bytes: 8 + json.length + offset, linearParameters };
  if (existsSync(file)) return result;
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config, null, 2));
  const fd = openSync(`${file}.partial`, 'w');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeSync(fd, length);
  writeSync(fd, json);
  const noise = Buffer.from(gaussianBf16(1 << 24).buffer);
  for (const [name, shape] of tensors(config)) {
    const [begin, end] = header[name].data_offsets;
    if (shape.length === 1) {
      writeSync(fd, Buffer.from(new Uint16Array(shape[0]).fill(0x3f80).buffer));
      continue;
    }
    // Another start in the noise for each tensor, so that no two rows of the file are alike.
    for (let at = begin, start = ((begin * 7 + 2) % (noise.length / 2)) & ~1; at < end;) {
      const n = Math.min(end - at, noise.length - start);
      writeSync(fd, noise, start, n);
      at += n;
      start = 0;
    }
  }
  closeSync(fd);
  renameSync(`${file}.partial`, file);
  return result;
}

/** Normal values of deviation 0.02, one in 4,096 ten times as large, cut to bf16. */
function gaussianBf16(count) {
  const out = new Uint16Array(count);
  const f = new Float32Array(1);
  const bits = new Uint32Array(f.buffer);
  let state = 0x9e3779b9;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  for (let i = 0; i < count; i += 2) {
    const r = 0.02 * Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    for (const [k, x] of [r * Math.cos(angle), r * Math.sin(angle)].entries()) {
      f[0] = (i + k) % 4096 === 0 ? x * 10 : x;
      out[i + k] = bits[0] >>> 16;
    }
  }
  return out;
}

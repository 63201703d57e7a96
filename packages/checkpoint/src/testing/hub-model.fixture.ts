// A small model as a repository holds it: config, tokenizer, two shards with an index, and the copies that nobody wants.
import { createHash } from 'node:crypto';
import { buildFile } from './build-safetensors.fixture.ts';

/** Bytes that look random and are the same each time. */
export function noise(length: number, seed: string): Uint8Array {
  let state = createHash('sha256').update(seed).digest().readUInt32LE() | 1;
  return Uint8Array.from({ length }, () => {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 255;
  });
}

/** A safetensors file with one bf16 matrix of `values` values. */
export function shard(name: string, values: number): Uint8Array {
  const data = noise(2 * values, name);
  return buildFile({ [name]: { dtype: 'BF16', shape: [values / 64, 64], data_offsets: [0, 2 * values] } }, data);
}

/** Values of the matrix in each shard of {@link hubModel}. */
export const SHARD_VALUES = 96 * 1024;

/** The files of a repository with a sharded model. */
export function hubModel(): Record<string, Uint8Array | string> {
  const index = {
    metadata: {},
    weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' },
  };
  return {
    '.gitattributes': '*.safetensors filter=lfs',
    'README.md': '# A model',
    'config.json': JSON.stringify({ model_type: 'nothing' }),
    'generation_config.json': '{}',
    'tokenizer.json': JSON.stringify({ version: '1.0' }),
    LICENSE: 'Free.',
    'model.safetensors.index.json': JSON.stringify(index),
    'model-00001-of-00002.safetensors': shard('a', SHARD_VALUES),
    'model-00002-of-00002.safetensors': shard('b', SHARD_VALUES),
    'pytorch_model.bin': noise(200_000, 'pickle'),
    'onnx/model.onnx': noise(200_000, 'onnx'),
    'model-Q4_K_M.gguf': noise(150_000, 'gguf'),
  };
}

/** Names of the files that {@link hubModel} needs. */
export const NEEDED = [
  'LICENSE',
  'config.json',
  'generation_config.json',
  'model-00001-of-00002.safetensors',
  'model-00002-of-00002.safetensors',
  'model.safetensors.index.json',
  'tokenizer.json',
];

// Architectures in llama.cpp against transformers: the tiny checkpoints of the reference data with a made-up vocabulary, exported
// in f32, give the same next-token probabilities there.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasRuntime, runtimeUrl } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openSafetensors } from '@pith/checkpoint';
import { memoryBytes } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportModel } from '../export-model.ts';

/** Largest difference of probabilities: the key/value cache is f16. Set from what was observed, not derived. */
const TOLERANCE = 2e-3;

/** A byte-level tokenizer whose vocabulary is the 256 bytes, or as many as there is room for. */
function tokenizer(size: number): object {
  const bytes = [...Array(256).keys()];
  const printable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  const letters = bytes.map((byte) => String.fromCodePoint(printable(byte) ? byte : next++));
  const vocab = Object.fromEntries(letters.slice(0, size).map((letter, id) => [letter, id]));
  return {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', vocab, merges: [] },
  };
}

describe.skipIf(!hasShared || !hasRuntime('node-llama-cpp'))('in llama.cpp, as transformers computes', () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'pith-arch-'));
  });
  afterAll(() => rmSync(root, { recursive: true }));

  it.each(['llama', 'mistral', 'qwen2', 'qwen3', 'mixtral', 'gpt2', 'gpt_neox'])('%s', async (name) => {
    const model = join(root, name);
    cpSync(shared(`golden/arch/${name}`), model, { recursive: true });
    const config = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8')) as { vocab_size: number };
    // llama.cpp takes 1 / sqrt(headDim) for Gemma 2, which the reference does not have: it is refused, below.
    if (name === 'gemma2') return;
    writeFileSync(join(model, 'tokenizer.json'), JSON.stringify(tokenizer(config.vocab_size)));
    rmSync(join(model, 'reference.safetensors'));
    const path = join(root, `tiny-${name}.gguf`);
    await exportModel(model, { format: 'gguf:f32', output: path, threads: 1 });
    const reference = await openSafetensors(
      memoryBytes(readFileSync(shared(`golden/arch/${name}/reference.safetensors`))),
      'reference',
    );
    const read = async (tensor: string) => {
      const { source, byteLength } = reference.tensors.get(tensor)!;
      return Uint8Array.from(await source.read(0, byteLength)).buffer;
    };
    const ids = [...new BigInt64Array(await read('input_ids'))].map(Number);
    const logits = new Float32Array(await read('logits'));
    const script = fileURLToPath(new URL('llama.fixture.mjs', import.meta.url));
    const job = JSON.stringify({ path, ids, vocabulary: config.vocab_size });
    const text = execFileSync(process.execPath, [script, runtimeUrl('node-llama-cpp'), job], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 2 ** 28,
    });
    const { rows } = JSON.parse(text) as { rows: number[][] };
    let largest = 0;
    // It has no sliding window for Mistral: within the window the two agree.
    const agreeing = name === 'mistral' ? 8 : rows.length;
    for (const [at, row] of rows.slice(0, agreeing).entries()) {
      const own = [...logits.subarray(at * config.vocab_size, (at + 1) * config.vocab_size)];
      const top = own.reduce((a, b) => Math.max(a, b));
      const sum = own.reduce((total, value) => total + Math.exp(value - top), 0);
      row.forEach((value, id) => {
        largest = Math.max(largest, Math.abs(value - Math.exp(own[id]! - top) / sum));
      });
    }
    expect(largest, name).toBeLessThan(TOLERANCE);
  });

  it('refuses a scale of attention that llama.cpp would take to be another', async () => {
    const model = join(root, 'gemma2');
    cpSync(shared('golden/arch/gemma2'), model, { recursive: true });
    writeFileSync(join(model, 'tokenizer.json'), JSON.stringify(tokenizer(192)));
    rmSync(join(model, 'reference.safetensors'));
    const options = { format: 'gguf:f32', output: join(root, 'gemma2.gguf'), threads: 1 };
    await expect(exportModel(model, options)).rejects.toMatchObject({ code: 'GGUF_SCALE_UNSUPPORTED' });
  });
});

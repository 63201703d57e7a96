// Our files in llama.cpp itself, by node-llama-cpp in a process of its own. Its key/value cache is f16 and each kernel rounds
// its inputs (q8_0, q8_K), so that probabilities differ from our f32 by what that costs: see TOLERANCE.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runLlama } from '@pith-tooling/vitest/llama';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { logits } from '@pith/model';
import { openModel } from '@pith/model/node';
import { MIXTURES } from '@pith/quant';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generate } from '../../generate/generate.ts';
import { writeMadeUpCheckpoint } from '../../testing/made-up-checkpoint.fixture.ts';
import { exportModel } from '../export-model.ts';

const demoFolder = new URL('../../../../../examples/demo-model/', import.meta.url);
const demo = fileURLToPath(new URL('checkpoint', demoFolder));
/** For variants of one to three bits, which need importances. */
const calibration = { text: fileURLToPath(new URL('calibration.txt', demoFolder)), samples: 2, context: 128 };

/**
 * Largest mean difference of two next-token distributions, half the sum of absolute differences, over the tokens. Set from
 * what was observed, not derived: ternary weights came to 0.023.
 */
const TOLERANCE = 0.02;
const TERNARY_TOLERANCE = 0.035;

/** Our probabilities of the next token at each position of a model. */
async function probabilities(model: string, ids: readonly number[]): Promise<number[][]> {
  const opened = await openModel(model);
  const device = cpuDevice({ threads: 1 });
  try {
    const { data, shape } = await logits(opened, ids, { device });
    const vocabulary = shape[2];
    return ids.map((_, at) => {
      const row = [...data.subarray(at * vocabulary, (at + 1) * vocabulary)];
      const largest = row.reduce((a, b) => Math.max(a, b));
      const shares = row.map((value) => Math.exp(value - largest));
      const sum = shares.reduce((a, b) => a + b);
      return shares.map((value) => value / sum);
    });
  } finally {
    await device.dispose();
    await opened.close();
  }
}

function meanDistance(a: readonly number[][], b: readonly number[][]): number {
  const each = a.map((row, i) => row.reduce((sum, value, j) => sum + Math.abs(value - b[i]![j]!), 0) / 2);
  return each.reduce((x, y) => x + y, 0) / each.length;
}

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-llama-'));
});
afterAll(() => rmSync(root, { recursive: true }));

let count = 0;
async function written(model: string, variant: string): Promise<string> {
  const output = join(root, `${variant}-${count++}.gguf`);
  const more = model === demo && /^iq[123]/.test(variant) ? { calibration } : {};
  await exportModel(model, { format: `gguf:${variant}`, output, threads: 1, ...more });
  return output;
}

describe.skipIf(!hasRuntime('node-llama-cpp'))('in llama.cpp', () => {
  describe.skipIf(!hasShared)('stories260k', () => {
    const original = hasShared ? shared('models/stories260k') : '';
    const prompt = [1, 403, 407, 261, 378];

    it('as q8_0 tokenizes as the original and writes the same words', async () => {
      const path = await written(original, 'q8_0');
      const model = await openModel(original);
      const words = await generate(original, { prompt: 'Once upon a time', maxTokens: 40, threads: 1 });
      const text = readFileSync(shared('data/stories-eval.txt'), 'utf8').slice(0, 2000);
      const ids = [1, ...model.tokenizer!.encode('Once upon a time')];
      const [tokens, made] = runLlama<Record<string, unknown>>([
        { path, tokenize: text },
        { path, ids, greedy: 40 },
      ]);
      expect(tokens!['ids']).toEqual([...model.tokenizer!.encode(text)]);
      expect((made!['ids'] as number[]).slice(0, words.ids.length)).toEqual(words.ids);
      await model.close();
    });

    it('in every mixture finds the same next tokens', async () => {
      await compare(original, prompt, 512, [
        'f16',
        'bf16',
        'q8_0',
        'q4_0',
        'q2_k',
        'q3_k_m',
        'q4_k_m',
        'q5_k_m',
        'q6_k',
      ]);
    });
  });

  it('the demo model in every mixture finds the same next tokens', async () => {
    const model = await openModel(demo);
    const ids = [0, ...model.tokenizer!.encode('The function returns a new array with the results of')];
    await model.close();
    const variants = MIXTURES.map(({ name }) => name).filter((name) => name !== 'mxfp4_moe');
    await compare(demo, ids, model.config.vocabularySize, variants);
  }, 120_000);

  // Fused query, key and value, and gate and up, in blocks of 32 and of 256. Random weights give sharp distributions, which rounded inputs
  // move further: the same sizes of Llama, whose mixtures are compared above, show by how much.
  it('phi3 in types of blocks is as near as llama', async () => {
    const ids = Array.from({ length: 12 }, (_, i) => ((i * 37 + 11) % 280) + 3);
    const variants = ['q8_0', 'q4_0', 'q4_k_m', 'q6_k', 'iq4_xs'];
    const found: Record<string, number>[] = [];
    for (const name of ['llama', 'phi3']) {
      const directory = join(root, name);
      writeMadeUpCheckpoint(directory, {
        model_type: name,
        vocab_size: 300,
        hidden_size: 256,
        intermediate_size: 256,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 256,
        bos_token_id: 1,
        eos_token_id: 2,
      });
      found.push(await distancesOf(directory, ids, 300, variants));
    }
    const [llama, phi3] = found;
    for (const variant of variants) {
      expect(phi3![variant], JSON.stringify(found)).toBeLessThan(1.5 * llama![variant]!);
      expect(phi3![variant], JSON.stringify(found)).toBeLessThan(0.05);
    }
  });

  /** Every variant of a model in one process of llama.cpp against our evaluation of the same files. */
  async function distancesOf(
    original: string,
    ids: readonly number[],
    vocabulary: number,
    variants: readonly string[],
  ): Promise<Record<string, number>> {
    const paths: string[] = [];
    for (const variant of variants) paths.push(await written(original, variant));
    const results = runLlama<{ rows: number[][] }>(paths.map((path) => ({ path, ids, vocabulary })));
    const distances: Record<string, number> = {};
    for (const [i, variant] of variants.entries()) {
      distances[variant] = meanDistance(results[i]!.rows, await probabilities(paths[i]!, ids));
    }
    return distances;
  }

  async function compare(original: string, ids: readonly number[], vocabulary: number, variants: readonly string[]) {
    const distances = await distancesOf(original, ids, vocabulary, variants);
    for (const [variant, distance] of Object.entries(distances)) {
      const tolerance = variant.startsWith('tq') ? TERNARY_TOLERANCE : TOLERANCE;
      expect(distance, `${variant}: ${JSON.stringify(distances)}`).toBeLessThan(tolerance);
    }
  }
});

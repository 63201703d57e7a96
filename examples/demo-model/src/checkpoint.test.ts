// Holds the checked-in model to what is said about it.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { generate, perplexity } from '@pith/model';
import { openModel, type OpenModel } from '@pith/model/node';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { faultsOf } from './grammar/faults.ts';
import { learnTokenizer } from './learn-tokenizer.ts';
import * as settings from './settings.ts';
import { tokenizerSample, trainingPages } from './training-text.ts';
import { calibrationText, evaluationText, folder } from './write-texts.ts';

const text = (name: string): string => readFileSync(`${folder}/${name}`, 'utf8');
const record = JSON.parse(text('training.json')) as {
  parameters: number;
  steps: number;
  tokensSeen: number;
  finalLoss: number;
  evaluation: { context: number; perplexity: number };
};
const device = cpuDevice();
let model: OpenModel;
beforeAll(async () => {
  model = await openModel(`${folder}/checkpoint`);
});
afterAll(async () => {
  await model.close();
  await device.dispose();
});

describe('the texts', () => {
  it('are what their seeds write', () => {
    expect(text('eval.txt') === evaluationText()).toBe(true);
    expect(text('calibration.txt') === calibrationText()).toBe(true);
  });

  it('do not overlap: hardly a line of the evaluation text is in the calibration text', () => {
    const known = new Set(text('calibration.txt').split('\n'));
    const lines = text('eval.txt').trimEnd().split('\n');
    expect(lines.filter((line) => known.has(line)).length / lines.length).toBeLessThan(0.05);
  });
});

describe('the tokenizer', () => {
  it('is what our trainer learns from the training text', () => {
    const { tokenizer, config } = learnTokenizer(
      tokenizerSample(trainingPages()),
      settings.tokenizer,
      settings.modelConfig.max_position_embeddings,
    );
    expect(JSON.parse(text('checkpoint/tokenizer.json'))).toEqual(JSON.parse(JSON.stringify(tokenizer)));
    expect(JSON.parse(text('checkpoint/tokenizer_config.json'))).toEqual(config);
  });

  // Tokenizer.from_file('tokenizer.json').encode(text, add_special_tokens=False).ids, tokenizers 0.23.3 (Python).
  it('gives the ids of the reference implementation', () => {
    const tokenizer = model.tokenizer!;
    expect([...tokenizer.encode('Once there was a girl named Lily.')]).toEqual([
      1313, 450, 296, 260, 606, 882, 736, 15,
    ]);
    expect([...tokenizer.encode('naïve café – 12 €\n')]).toEqual([
      79, 66, 129, 109, 313, 314, 71, 129, 104, 222, 160, 224, 243, 222, 18, 19, 222, 160, 226, 107, 200,
    ]);
    const ids = tokenizer.encode(text('eval.txt'));
    expect(ids).toHaveLength(19947);
    // As little-endian int32.
    expect(createHash('sha256').update(Buffer.from(ids.buffer)).digest('hex')).toBe(
      '6cba1afc77f74ec8263407ab67465d63135b3ebef52a441775a712ee1c3b05e8',
    );
  });

  it('restores every text', () => {
    const tokenizer = model.tokenizer!;
    for (const sample of [text('eval.txt'), 'naïve  café\t\r\n日本語 🙂 "x"']) {
      expect(tokenizer.decode(tokenizer.encode(sample))).toBe(sample);
    }
  });
});

describe('the model', () => {
  it('has the size and the config that are said', () => {
    const { embedding, blocks } = model.architecture;
    expect(model.config.hiddenSize).toBe(256);
    expect(embedding.rows).toBe(settings.tokenizer.size);
    for (const { inFeatures } of blocks.flatMap(({ linears }) => linears)) expect(inFeatures % 128).toBe(0);
    expect(record.parameters).toBeGreaterThan(1e6);
    expect(record.parameters).toBeLessThan(3e6);
    expect(statSync(`${folder}/checkpoint/model.safetensors`).size).toBeLessThan(2 * record.parameters + 10_000);
    expect(JSON.parse(text('checkpoint/config.json'))).toEqual(settings.modelConfig);
    expect(existsSync(`${folder}/checkpoint/generation_config.json`)).toBe(true);
  });

  it('evaluates at the recorded perplexity', async () => {
    const { context, perplexity: recorded } = record.evaluation;
    const { perplexity: found } = await perplexity(model, { text: text('eval.txt'), context, device });
    expect(found / recorded).toBeGreaterThan(0.99);
    expect(found / recorded).toBeLessThan(1.01);
    // The grammar's own uncertainty bounds it from below; a model that learnt no more than word counts is far above.
    expect(found).toBeGreaterThan(2);
    expect(found).toBeLessThan(4);
  });

  it('has the loss curve that ends at the recorded loss', () => {
    const curve = text('loss.jsonl')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { step: number; loss: number });
    expect(curve.at(-1)!.step).toBe(record.steps - 1);
    expect(curve).toHaveLength(record.steps / settings.training.logEvery);
    expect(curve[0]!.loss).toBeGreaterThan(5);
    const last = curve.slice(-50);
    expect(last.reduce((sum, { loss }) => sum + loss, 0) / 50).toBeCloseTo(record.finalLoss, 9);
  });

  it('writes grammatical text with the words of the grammar alone', async () => {
    const beginnings = [
      'Once there was a',
      'The',
      'A',
      'One day',
      '"Where is',
      '"What',
      'Tom',
      'In the',
      'Yesterday',
      'When',
    ];
    const faults: string[] = [];
    let lines = 0;
    for (const [seed, prompt] of beginnings.entries()) {
      const sample = await generate(model, { prompt, device, seed, temperature: 0.8, topP: 0.95, maxTokens: 120 });
      const page = `${prompt}${sample.text}`.split('\n').filter((line) => line !== '');
      // The last line of a page that was cut is no whole text.
      for (const line of sample.finish === 'stop' ? page : page.slice(0, -1)) {
        lines++;
        faults.push(...faultsOf(line).map((fault) => `${fault} | ${line}`));
      }
    }
    expect(lines).toBeGreaterThan(10);
    expect(faults).toEqual([]);
  });

  it('continues a prompt with a sentence', async () => {
    const { text: more } = await generate(model, { prompt: 'Once there was a', device, maxTokens: 40 });
    expect(more).toMatch(/^ (boy|girl|\w+) .*\./s);
  });
});

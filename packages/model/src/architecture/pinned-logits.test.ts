// Logits that transformers gives for weights that anybody can make again: one tiny model for each architecture that has no
// reference checkpoint, and for what its published sizes differ in.
//
// Provenance: transformers 5.17.0, torch 2.10.0, f32 on the CPU, attention `eager` (`sdpa` for Falcon with linear biases, whose
// eager path adds them twice): `Auto...from_config(config)`, `save_pretrained`, every tensor of the file filled by the rule of
// `filledValues`, `from_pretrained(...)`, `model(ids).logits[0]`, of position 5 and of the last one the first six values.
import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import { readModelConfig } from '../config/read-config.ts';
import { filledValues } from '../testing/filled-weights.fixture.ts';
import { transposeF32 } from '../testing/transpose.fixture.ts';
import { causalLogits } from './causal-logits.ts';
import { expectedTensors } from './expected-tensors.ts';
import { describeArchitecture, supportedModelTypes } from './registry.ts';

// tfjs advertises its Node binding on the console otherwise.
tf.env().set('IS_TEST', true);

interface Pinned {
  readonly name: string;
  readonly config: { readonly model_type: string };
  readonly logits: readonly number[];
}

const PINNED = JSON.parse(
  readFileSync(new URL('pinned-logits.fixture.json', import.meta.url), 'utf8'),
) as readonly Pinned[];
const IDS = Int32Array.from({ length: 14 }, (_, i) => ((i * 37 + 11) % 62) + 1);

function logitsOf({ config: json }: Pinned): number[] {
  const architecture = describeArchitecture(readModelConfig(json));
  const gemma = json.model_type.startsWith('gemma');
  const linears = architecture.blocks.flatMap((block) => block.linears);
  const turned = new Set(linears.flatMap(({ name, transposed }) => (transposed ? [name] : [])));
  const weights = Object.fromEntries(
    expectedTensors(architecture).map(({ name, shape }) => {
      if (!turned.has(name)) return [name, tf.tensor(filledValues(name, shape, gemma), [...shape])];
      const [rows, columns] = shape as [number, number];
      return [
        name,
        tf.tensor2d(transposeF32(filledValues(name, [columns, rows], gemma), columns, rows), [rows, columns]),
      ];
    }),
  );
  const logits = causalLogits(architecture, weights, tf.tensor2d(IDS, [1, IDS.length], 'int32'));
  const [rows] = logits.arraySync();
  return [...rows[5].slice(0, 6), ...rows.at(-1)!.slice(0, 6)];
}

describe('logits of made-up weights, as transformers gives them', () => {
  it.each(PINNED.map((pinned) => [pinned.name, pinned] as const))('%s', (_name, pinned) => {
    const largest = Math.max(1, ...pinned.logits.map(Math.abs));
    logitsOf(pinned).forEach((value, i) => {
      expect(Math.abs(value - pinned.logits[i]) / largest).toBeLessThan(2e-5);
    });
  });

  it('every architecture is held to one of these, or to a reference checkpoint', () => {
    const golden = [
      'bert',
      'gemma2',
      'gpt2',
      'gpt_neox',
      'llama',
      'mistral',
      'mixtral',
      'opt',
      'phi3',
      'qwen2',
      'qwen3',
    ];
    const held = new Set([...golden, ...PINNED.map(({ config }) => config.model_type)]);
    expect(supportedModelTypes.filter((type) => !held.has(type))).toEqual([]);
  });
});

// Logits that transformers gives for weights that anybody can make again: one tiny model for each architecture that has no
// reference checkpoint, and for what its published sizes differ in.
//
// Provenance: transformers 5.17.0, torch 2.10.0, f32 on the CPU, attention `eager` (`sdpa` for Falcon with linear biases, whose
// eager path adds them twice): `Auto...from_config(config)`, `save_pretrained`, every tensor of the file filled by the rule of
// `filledValues`, `from_pretrained(...)`, `model(ids).logits[0]`, of position 5 and of the last one the first six values.
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import { readModelConfig } from '../config/read-config.ts';
import { PINNED, PINNED_IDS, pinnedValues, type Pinned } from '../testing/pinned-models.fixture.ts';
import { causalLogits } from './causal-logits.ts';
import { describeArchitecture, supportedModelTypes } from './registry.ts';

// tfjs advertises its Node binding on the console otherwise.
tf.env().set('IS_TEST', true);

function logitsOf(pinned: Pinned): number[] {
  const architecture = describeArchitecture(readModelConfig(pinned.config));
  const weights = Object.fromEntries(
    [...pinnedValues(pinned)].map(([name, { shape, data }]) => [name, tf.tensor(data, [...shape])]),
  );
  const logits = causalLogits(architecture, weights, tf.tensor2d(PINNED_IDS, [1, PINNED_IDS.length], 'int32'));
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

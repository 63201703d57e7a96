import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { readModelConfig } from '../config/read-config.ts';
import { readCheckpointFolder, readSafetensors } from '../testing/read-safetensors.fixture.ts';
import { causalLogits, causalStates } from './causal-logits.ts';
import { describeArchitecture } from './registry.ts';

// tfjs advertises its Node binding on the console otherwise.
tf.env().set('IS_TEST', true);

const largest = (values: ArrayLike<number>) =>
  Array.prototype.reduce.call(values, (a, b) => Math.max(a as number, Math.abs(b as number)), 0) as number;
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) => largest(Array.from(a, (value, i) => value - b[i]));

function load(folder: string) {
  const architecture = describeArchitecture(readModelConfig(JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'))));
  const turned = new Set(
    architecture.blocks.flatMap(({ linears }) => linears.flatMap(({ name, transposed }) => (transposed ? [name] : []))),
  );
  const weights = Object.fromEntries(
    [...readCheckpointFolder(folder)].map(([name, { shape, data }]) => {
      const tensor = tf.tensor(data, shape);
      return [name, turned.has(name) ? tf.transpose(tensor) : tensor];
    }),
  );
  return { architecture, weights };
}

const GOLDEN = [
  'llama',
  'llama-bf16-sharded',
  'qwen2',
  'mistral',
  'qwen3',
  'gemma2',
  'gpt2',
  'phi3',
  'mixtral',
  'opt',
  'gpt_neox',
  'bert',
];

// shared/golden/arch: transformers 5.17 in f32 on the CPU; f32 against f64 differs there by less than 1e-5.
describe.skipIf(!hasShared)('reference checkpoints', () => {
  it.each(GOLDEN)('%s: logits and every hidden state', (name) => {
    const { architecture, weights } = load(shared(`golden/arch/${name}`));
    const reference = readSafetensors(shared(`golden/arch/${name}/reference.safetensors`));
    const { shape, data } = reference.get('input_ids')!;
    const ids = tf.tensor2d(data, shape as [number, number], 'int32');
    const types = reference.get('token_type_ids');
    const segments = types && tf.tensor2d(types.data, types.shape as [number, number], 'int32');
    const { hidden: states, logits } = causalStates(architecture, weights, ids, undefined, segments);
    // What stands before the head of an encoder is no norm alone: the reference's last state lies before it.
    const compared = architecture.config.kind === 'encoder' ? states.slice(0, -1) : states;
    compared.forEach((state, depth) => {
      expect(distance(state.dataSync(), reference.get(`hidden_${depth}`)!.data), `hidden_${depth}`).toBeLessThan(3e-5);
    });
    const expected = reference.get('logits')!;
    expect(logits.shape).toEqual(expected.shape);
    const difference = distance(logits.dataSync(), expected.data);
    expect(difference).toBeLessThan(3e-5);
    expect(difference / largest(expected.data)).toBeLessThan(2e-4);
  });

  it.each(['llama', 'qwen2', 'mistral'])('%s: attention made of its states is what the next linear gets', (name) => {
    const { architecture, weights } = load(shared(`golden/arch/${name}`));
    const { heads, keyValueHeads, headDim } = architecture.config;
    const ids = tf.tensor2d([1, 5, 9, 13, 2, 7, 7, 30], [1, 8], 'int32');
    const inputs: tf.Tensor[] = [];
    const { attention } = causalStates(architecture, weights, ids, (spec, x, apply) => {
      if (spec.role === 'attention-output') inputs.push(x);
      return apply();
    });
    attention.forEach(({ queries, keys, values, mask, scale }, block) => {
      const repeated = (x: tf.Tensor) =>
        tf.reshape(tf.tile(tf.expandDims(x, 2), [1, 1, heads / keyValueHeads, 1, 1]), [1, heads, 8, headDim]);
      const scores = tf.mul(tf.matMul(queries, repeated(keys), false, true), scale);
      const mixed = tf.matMul(tf.softmax(tf.add(scores, mask)), repeated(values));
      const byToken = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [1, 8, heads * headDim]);
      expect(distance(byToken.dataSync(), inputs[block]!.dataSync())).toBeLessThan(1e-5);
    });
  });

  it('stories260k: logits', () => {
    const { architecture, weights } = load(shared('models/stories260k'));
    const reference = readSafetensors(shared('golden/stories260k/logits.safetensors'));
    const { shape, data } = reference.get('input_ids')!;
    const logits = causalLogits(architecture, weights, tf.tensor2d(data, shape as [number, number], 'int32'));
    const expected = reference.get('logits')!.data;
    expect(distance(logits.dataSync(), expected) / largest(expected)).toBeLessThan(2e-4);
  });
});

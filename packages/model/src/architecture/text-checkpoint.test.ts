import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { saveCheckpoint } from '@pith/checkpoint/node';
import type { DenseWeight } from '@pith/tensor-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readModelConfig } from '../config/read-config.ts';
import { openCheckpointAt } from '../node/open-checkpoint-at.ts';
import { openModel } from '../node/open-model.ts';
import { filledWeight } from '../testing/filled-weights.fixture.ts';
import { expectedTensors } from './expected-tensors.ts';
import { describeArchitecture } from './registry.ts';

let directory: string;
beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'text-')), 'model');
});
afterEach(() => rm(join(directory, '..'), { recursive: true }));

const text = {
  vocab_size: 20,
  hidden_size: 16,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 8,
  sliding_window: 4,
  rope_scaling: { rope_type: 'linear', factor: 8 },
};
const whole = {
  model_type: 'gemma3',
  architectures: ['Gemma3ForConditionalGeneration'],
  eos_token_id: [1, 106],
  torch_dtype: 'float32',
  text_config: { ...text, model_type: 'gemma3_text' },
  vision_config: { hidden_size: 8 },
};
const flat = { ...text, model_type: 'gemma3_text', eos_token_id: [1, 106], torch_dtype: 'float32' };
const architecture = describeArchitecture(readModelConfig(flat));

const inner = (name: string) => name.replace(/^model\./, '');

async function save(config: object, rename: (name: string) => string, more: readonly string[] = []) {
  const weights = [
    ...expectedTensors(architecture).map(({ name, shape }) => ({ ...filledWeight(name, shape), name: rename(name) })),
    ...more.map((name) => filledWeight(name, [3, 4])),
  ] as DenseWeight[];
  await saveCheckpoint(directory, { configText: JSON.stringify(config), weights });
}

const VISION = [
  'vision_tower.vision_model.embeddings.patch.weight',
  'multi_modal_projector.mm_input_projection_weight',
];

describe('a model that also sees', () => {
  it.each([
    ['of the hub', (name: string) => `language_model.model.${inner(name)}`, VISION],
    [
      'of newer releases',
      (name: string) => `model.language_model.${inner(name)}`,
      VISION.map((name) => `model.${name}`),
    ],
  ])('is opened as its text model: names %s', async (_style, rename, vision) => {
    await save(whole, rename, vision);
    const model = await openModel(directory);
    try {
      expect(model.config).toEqual(readModelConfig({ ...flat, architectures: ['Gemma3ForCausalLM'] }));
      expect([...model.weights.keys()].sort()).toEqual(
        expectedTensors(architecture)
          .map(({ name }) => name)
          .sort(),
      );
      const { name, shape } = expectedTensors(architecture)[1]!;
      const [rows] = shape as [number];
      expect(await model.weights.get(name)!.toF32(0, rows)).toEqual(await filledWeight(name, shape).toF32(0, rows));
      const { checkpoint } = model;
      expect(checkpoint.notices).toEqual([
        'the text model of gemma3 alone is read, as gemma3_text: 2 tensors of its other parts are left out, and an output is a model of text',
      ]);
      expect(JSON.parse(checkpoint.configText)).toEqual(checkpoint.config);
      const tensor = checkpoint.tensors.get(name)!;
      expect(tensor).toMatchObject({ name, shape });
      const bytes = await tensor.source.read(0, tensor.byteLength);
      const weight = filledWeight(name, shape) as DenseWeight;
      expect([...bytes]).toEqual([...(await weight.bytes(0, rows))]);
      expect(checkpoint.weight(name)).toMatchObject({ name, shape });
    } finally {
      await model.close();
    }
  });

  it('a tensor under both names is refused', async () => {
    const { name } = expectedTensors(architecture)[0]!;
    await save(whole, (own) => `language_model.model.${inner(own)}`, [`model.language_model.${inner(name)}`]);
    await expect(openCheckpointAt(directory)).rejects.toMatchObject({ code: 'CHECKPOINT_TENSOR_REPEATED' });
  });

  it('other models are left as they are, and gemma3 without a text_config is unknown', async () => {
    await save(flat, (name) => name);
    const checkpoint = await openCheckpointAt(directory);
    expect(checkpoint.notices).toBeUndefined();
    await checkpoint.close();
    await rm(directory, { recursive: true });
    await save({ ...whole, text_config: undefined }, (name) => `language_model.model.${inner(name)}`);
    await expect(openModel(directory)).rejects.toMatchObject({ code: 'ARCHITECTURE_UNSUPPORTED' });
  });
});

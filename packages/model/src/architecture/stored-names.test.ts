import { describe, expect, it } from 'vitest';
import { readModelConfig } from '../config/read-config.ts';
import { filledWeight } from '../testing/filled-weights.fixture.ts';
import type { Architecture } from './architecture.ts';
import { expectedTensors } from './expected-tensors.ts';
import { modelWeights, storageDifferences } from './model-weights.ts';
import { describeArchitecture } from './registry.ts';

const sizes = {
  vocab_size: 20,
  hidden_size: 16,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 32,
};

function architectureOf(json: object): Architecture {
  return describeArchitecture(readModelConfig({ ...sizes, ...json }));
}

/** The weights of a checkpoint that calls them by other names. */
function storedAs(architecture: Architecture, rename: (name: string) => string) {
  return new Map(
    expectedTensors(architecture).map(({ name, shape }) => [rename(name), filledWeight(rename(name), shape)] as const),
  );
}

const namesOf = (architecture: Architecture) => expectedTensors(architecture).map(({ name }) => name);

describe('checkpoints that were saved without the head leave the prefix out', () => {
  it.each([
    ['llama', 'model.', {}],
    ['qwen3', 'model.', {}],
    ['gemma2', 'model.', {}],
    ['phi', 'model.', {}],
    ['phi3', 'model.', {}],
    ['mixtral', 'model.', { num_local_experts: 2 }],
    ['opt', 'model.', {}],
    ['gpt_neox', 'gpt_neox.', {}],
    ['gpt2', 'transformer.', { n_embd: 16, n_head: 2, n_layer: 1 }],
    ['bloom', 'transformer.', {}],
    ['falcon', 'transformer.', {}],
    ['bert', 'bert.', {}],
  ])('%s', (model_type, prefix, more) => {
    const architecture = architectureOf({ model_type, tie_word_embeddings: true, ...more });
    const stored = storedAs(architecture, (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : name));
    expect([...modelWeights(architecture, stored).keys()].sort()).toEqual(namesOf(architecture).sort());
    expect(storageDifferences(architecture, stored.keys())[0]).toContain('they are written as');
    expect(storageDifferences(architecture, namesOf(architecture)).join()).not.toContain('older names');
  });
});

describe('an embedding that is stored as the head to which the config ties it', () => {
  it.each([
    ['llama', 'lm_head.weight'],
    ['gpt_neox', 'embed_out.weight'],
  ])('%s', async (model_type, head) => {
    const architecture = architectureOf({ model_type, tie_word_embeddings: true });
    const { name: embedding } = architecture.embedding;
    const stored = storedAs(architecture, (name) => (name === embedding ? head : name));
    const weights = modelWeights(architecture, stored);
    expect([...weights.keys()].sort()).toEqual(namesOf(architecture).sort());
    expect(await weights.get(embedding)!.toF32(0, 20)).toEqual(await stored.get(head)!.toF32(0, 20));
    expect(storageDifferences(architecture, stored.keys())).toEqual([
      `the token embedding is stored as ${head}, to which the config ties it; it is written as ${embedding}`,
    ]);
  });

  it('an untied model misses its embedding', () => {
    const architecture = architectureOf({ model_type: 'llama', tie_word_embeddings: false });
    const stored = storedAs(architecture, (name) => name);
    stored.delete(architecture.embedding.name);
    expect(modelWeights(architecture, stored).has(architecture.embedding.name)).toBe(false);
  });
});

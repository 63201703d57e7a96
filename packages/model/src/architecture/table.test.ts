import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { readModelConfig } from '../config/read-config.ts';
import { readCheckpointFolder } from '../testing/read-safetensors.fixture.ts';
import { checkTensors, expectedTensors } from './expected-tensors.ts';
import { describeArchitecture, listLinears } from './registry.ts';

const config = readModelConfig({
  model_type: 'llama',
  vocab_size: 100,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
});

describe('the table', () => {
  it('lists each linear of a block with what it reads and what feeds it', () => {
    const linears = listLinears(config);
    expect(linears).toHaveLength(15);
    const second = linears.slice(7, 14);
    const at = 'model.layers.1';
    expect(second.map(({ path, role, outFeatures, inFeatures }) => [path, role, outFeatures, inFeatures])).toEqual([
      [`${at}.self_attn.q_proj`, 'query', 32, 32],
      [`${at}.self_attn.k_proj`, 'key', 16, 32],
      [`${at}.self_attn.v_proj`, 'value', 16, 32],
      [`${at}.self_attn.o_proj`, 'attention-output', 32, 32],
      [`${at}.mlp.gate_proj`, 'gate', 48, 32],
      [`${at}.mlp.up_proj`, 'up', 48, 32],
      [`${at}.mlp.down_proj`, 'down', 32, 48],
    ]);
    const groups = [...new Set(second.map(({ inputGroup }) => inputGroup))];
    const members = (group: string) => second.filter(({ inputGroup }) => inputGroup === group);
    expect(groups.map((group) => members(group).map(({ role }) => role))).toEqual([
      ['query', 'key', 'value'],
      ['attention-output'],
      ['gate', 'up'],
      ['down'],
    ]);
  });

  it('says of every linear either its norm or what feeds it, and its heads', () => {
    for (const linear of listLinears(config)) {
      expect(linear.normBefore === null).toBe(linear.fedBy.length > 0);
      if (linear.heads) {
        const length = linear.heads.axis === 'rows' ? linear.outFeatures : linear.inFeatures;
        expect(linear.heads.count * linear.heads.dim).toBe(length);
      }
    }
  });

  it('maps rows of a feeding linear onto columns, repeated where heads are shared', () => {
    const linears = new Map(listLinears(config).map((linear) => [linear.path, linear]));
    for (const linear of linears.values()) {
      for (const { path, headDim, repeat } of linear.fedBy) {
        const rows = linears.get(path)!.outFeatures;
        expect(rows * repeat).toBe(linear.inFeatures);
        // Every column is fed by exactly one row.
        const seen = new Int32Array(linear.inFeatures);
        for (let row = 0; row < rows; row++) {
          const [head, d] = [Math.floor(row / headDim), row % headDim];
          for (let j = 0; j < repeat; j++) seen[(head * repeat + j) * headDim + d]++;
        }
        expect(seen.every((count) => count === 1)).toBe(true);
      }
    }
  });

  it('norms know the groups that read them', () => {
    const { blocks, finalNorm, head } = describeArchitecture(config);
    expect(finalNorm!.inputGroups).toEqual([head.inputGroup]);
    for (const { norms, linears } of blocks) {
      for (const norm of norms) {
        const readers = linears
          .filter(({ normBefore }) => normBefore === norm.name)
          .map(({ inputGroup }) => inputGroup);
        expect([...new Set(readers)]).toEqual(norm.inputGroups);
      }
    }
  });
});

describe('checkTensors', () => {
  const architecture = describeArchitecture(config);
  const complete = () => new Map(expectedTensors(architecture).map(({ name, shape }) => [name, { shape }]));

  it('accepts what the architecture has, and old caches of frequencies', () => {
    const tensors = complete().set('model.layers.0.self_attn.rotary_emb.inv_freq', { shape: [4] });
    expect(() => checkTensors(architecture, tensors)).not.toThrow();
  });

  it('reports all offenders at once', () => {
    const tensors = complete();
    tensors.delete('lm_head.weight');
    tensors.delete('model.layers.1.mlp.up_proj.weight');
    tensors.set('model.norm.weight', { shape: [31] });
    tensors.set('model.layers.0.self_attn.q_proj.bias', { shape: [32] });
    expect(() => checkTensors(architecture, tensors)).toThrow(
      expect.objectContaining({
        code: 'WEIGHTS_MISMATCH',
        details: {
          missing: ['model.layers.1.mlp.up_proj.weight', 'lm_head.weight'],
          unexpected: ['model.layers.0.self_attn.q_proj.bias'],
          wrongShape: [{ name: 'model.norm.weight', expected: [32], found: [31] }],
        },
      }),
    );
  });

  it.skipIf(!hasShared).each(['llama', 'qwen2', 'mistral', 'qwen3', 'gemma2', 'phi3', 'mixtral', 'opt', 'gpt_neox'])(
    '%s: the table has exactly the tensors of the checkpoint',
    (name) => {
      const folder = shared(`golden/arch/${name}`);
      const json: unknown = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
      const wanted = expectedTensors(describeArchitecture(readModelConfig(json)));
      const stored = readCheckpointFolder(folder);
      expect(new Map(wanted.map((tensor) => [tensor.name, tensor.shape]))).toEqual(
        new Map([...stored].map(([key, { shape }]) => [key, shape])),
      );
    },
  );
});

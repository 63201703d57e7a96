// Logits of prompts are in `pinned-logits.test.ts`; here is what it does not see: the cache, what a config may not say, what
// checkpoints carry beside the model.
import { cpuDevice } from '@pith/tensor-core/node';
import type { Device } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readModelConfig } from '../../config/read-config.ts';
import { generate } from '../../generate/generate.ts';
import { PINNED, PINNED_IDS, pinnedModel } from '../../testing/pinned-models.fixture.ts';
import { checkTensors, expectedTensors } from '../expected-tensors.ts';
import { describeArchitecture } from '../registry.ts';

let device: Device;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
});
afterAll(() => device.dispose());

// transformers 5.17.0, f32 on the CPU, the models of `pinned-logits.test.ts`: generate(ids, max_new_tokens=12, do_sample=False,
// use_cache=True, eos_token_id=None). The best token leads the next by 0.013 at least.
const CONTINUED: Readonly<Record<string, readonly number[]>> = {
  deepseek_v2: [28, 55, 28, 55, 37, 21, 60, 60, 5, 5, 5, 5],
  'deepseek_v2-groups': [52, 1, 52, 54, 52, 1, 44, 27, 14, 12, 17, 52],
  deepseek_v3: [28, 38, 38, 38, 38, 20, 61, 0, 61, 56, 56, 56],
  'deepseek_v3-moonlight': [28, 55, 28, 55, 20, 38, 2, 61, 52, 11, 28, 55],
  'deepseek_v3-halves': [15, 15, 15, 50, 63, 15, 60, 60, 60, 60, 9, 9],
};

describe('generation with a cache gives the tokens of transformers', () => {
  it.each(Object.entries(CONTINUED))('%s', async (name, ids) => {
    const model = pinnedModel(PINNED.find((pinned) => pinned.name === name)!);
    const result = await generate(model, { device, ids: PINNED_IDS, maxTokens: ids.length, stopTokenIds: [] });
    expect([...result.ids]).toEqual(ids);
  });
});

const config = {
  model_type: 'deepseek_v3',
  vocab_size: 64,
  hidden_size: 32,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  intermediate_size: 40,
  n_routed_experts: 8,
  moe_intermediate_size: 16,
  n_group: 4,
  topk_group: 2,
  num_experts_per_tok: 3,
  first_k_dense_replace: 1,
};

describe('configs', () => {
  it('defaults are those of the published configuration classes', () => {
    expect(readModelConfig({ model_type: 'deepseek_v3' })).toMatchObject({
      layers: 61,
      heads: 128,
      keyValueHeads: 128,
      headDim: 192,
      valueDim: 128,
      latentAttention: { queryRank: 1536, keyValueRank: 512, plainDim: 128, rotaryDim: 64 },
      experts: { count: 256, perToken: 8, groups: 8, groupsPerToken: 4, weightScale: 2.5, shared: 1 },
      rope: { dim: 64, interleaved: true },
      nextTokenLayers: 1,
    });
    expect(readModelConfig({ model_type: 'deepseek_v2', q_lora_rank: null })).toMatchObject({
      headDim: 192,
      latentAttention: { queryRank: null },
      experts: { count: 64, intermediateSize: 1407, groups: 1, shared: 2, normalizeWeights: false },
      nextTokenLayers: 0,
    });
  });

  it('stretched rotations raise the scores by mscale_all_dim', () => {
    const rope = { type: 'yarn', factor: 40, original_max_position_embeddings: 4096, mscale: 1, mscale_all_dim: 1 };
    const { attentionScale } = readModelConfig({ model_type: 'deepseek_v3', rope_scaling: rope });
    const raised = 0.1 * Math.log(40) + 1;
    expect(attentionScale).toBeCloseTo((raised * raised) / Math.sqrt(192), 12);
  });

  it.each([
    [{ num_key_value_heads: 2 }, 'num_key_value_heads must be num_attention_heads 4'],
    [{ moe_layer_freq: 2 }, 'moe_layer_freq must be 1, got 2'],
    [{ n_routed_experts: null }, 'n_routed_experts must be a number'],
    [{ n_shared_experts: null }, 'n_shared_experts must be at least 1, got null'],
    [{ scoring_func: 'softmax' }, 'scoring_func must be sigmoid, got "softmax"'],
    [{ topk_method: 'greedy' }, 'topk_method must be noaux_tc, got "greedy"'],
    [{ n_group: 3 }, 'the 8 experts must be a multiple of n_group, got 3'],
    [{ topk_group: 5 }, 'topk_group must be at most n_group 4, got 5'],
    [{ n_group: 8, topk_group: 4 }, 'groups are chosen by their two best experts, got 8 groups of 8 experts'],
    [{ num_experts_per_tok: 5 }, 'num_experts_per_tok must be at most the 4 experts of topk_group 2, got 5'],
    [{ num_experts_per_tok: 9 }, 'num_experts_per_tok must be at most the 8 experts, got 9'],
    [{ qk_rope_head_dim: 7 }, 'head_dim must be even'],
    [{ model_type: 'deepseek_v2', norm_topk_prob: true }, 'norm_topk_prob must be false'],
    [{ model_type: 'deepseek_v2', rope_interleave: false }, 'rope_interleave must be true'],
    [
      { model_type: 'deepseek_v2', topk_method: 'group_limited_greedy', n_group: undefined },
      'group_limited_greedy needs n_group and topk_group',
    ],
  ])('%o is refused by name', (changes, message) => {
    expect(() => readModelConfig({ ...config, ...changes })).toThrow(message);
  });
});

describe('the table', () => {
  it('says of the latents what feeds whom', () => {
    const { blocks } = describeArchitecture(readModelConfig(config));
    const at = 'model.layers.1';
    const attention = blocks[1].linears.slice(0, 5);
    expect(attention.map(({ path, role, inputGroup, normBefore }) => [path, role, inputGroup, normBefore])).toEqual([
      [`${at}.self_attn.q_a_proj`, 'query-latent', `${at}.attention`, `${at}.input_layernorm.weight`],
      [`${at}.self_attn.q_b_proj`, 'query', `${at}.query-latent`, `${at}.self_attn.q_a_layernorm.weight`],
      [`${at}.self_attn.kv_a_proj_with_mqa`, 'key-value-latent', `${at}.attention`, `${at}.input_layernorm.weight`],
      [`${at}.self_attn.kv_b_proj`, 'key-value', `${at}.key-value-latent`, `${at}.self_attn.kv_a_layernorm.weight`],
      [`${at}.self_attn.o_proj`, 'attention-output', `${at}.attention-output`, null],
    ]);
    expect(blocks[1].parameters).toEqual([
      { name: `${at}.mlp.gate.e_score_correction_bias`, role: 'choice-bias', shape: [8] },
    ]);
    expect(blocks[0].parameters).toEqual([]);
  });

  it('blocks that guess the tokens after the next are carried along, others behind the last are not', () => {
    const architecture = describeArchitecture(readModelConfig({ ...config, num_nextn_predict_layers: 1 }));
    const tensors = new Map(expectedTensors(architecture).map(({ name, shape }) => [name, { shape }]));
    tensors.set('model.layers.3.eh_proj.weight', { shape: [32, 64] });
    expect(() => checkTensors(architecture, tensors)).not.toThrow();
    tensors.set('model.layers.4.eh_proj.weight', { shape: [32, 64] });
    expect(() => checkTensors(architecture, tensors)).toThrow('model.layers.4.eh_proj.weight');
  });
});

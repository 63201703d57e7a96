import { describe, expect, it } from 'vitest';
import { readModelConfig } from './read-config.ts';

const small = {
  vocab_size: 100,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  max_position_embeddings: 64,
};
const llama = { model_type: 'llama', ...small };

describe('defaults are those of the published configuration classes', () => {
  it('llama', () => {
    expect(readModelConfig({ model_type: 'llama' })).toMatchObject({
      vocabularySize: 32000,
      hiddenSize: 4096,
      intermediateSize: 11008,
      layers: 32,
      heads: 32,
      keyValueHeads: 32,
      headDim: 128,
      maxPositions: 2048,
      normEpsilon: 1e-6,
      rope: { theta: 10000, dim: 128, interleaved: false, scaling: { kind: 'none' } },
      biases: { queryKeyValue: false, attentionOutput: false, feedForward: false },
      tiedEmbeddings: false,
      bosTokenId: 1,
      eosTokenIds: [2],
      storedDType: null,
    });
  });

  it('mistral: 8 key heads, and a window of 4096 unless the file says null', () => {
    const config = readModelConfig({ model_type: 'mistral' });
    expect(config).toMatchObject({ intermediateSize: 14336, keyValueHeads: 8, maxPositions: 131072 });
    expect(new Set(config.windows)).toEqual(new Set([4096]));
    expect(new Set(readModelConfig({ model_type: 'mistral', sliding_window: null }).windows)).toEqual(new Set([null]));
  });

  it('qwen2: biases on query, key, value; no BOS', () => {
    expect(readModelConfig({ model_type: 'qwen2' })).toMatchObject({
      vocabularySize: 151936,
      keyValueHeads: 32,
      biases: { queryKeyValue: true, attentionOutput: false, feedForward: false },
      bosTokenId: null,
      eosTokenIds: [],
    });
  });
});

describe('two styles of the same facts', () => {
  const scaling = {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 16,
  };

  it('of the hub and of transformers 5', () => {
    const hub = { ...llama, rope_theta: 500000, rope_scaling: scaling, torch_dtype: 'bfloat16' };
    const five = { ...llama, rope_parameters: { ...scaling, rope_theta: 500000 }, dtype: 'bfloat16' };
    expect(readModelConfig(five)).toEqual(readModelConfig(hub));
    expect(readModelConfig(hub)).toMatchObject({
      storedDType: 'bfloat16',
      rope: {
        theta: 500000,
        scaling: { kind: 'llama3', factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 16 },
      },
    });
  });

  it('rope scaling before 2024 says "type"', () => {
    const { rope } = readModelConfig({ ...llama, rope_scaling: { type: 'linear', factor: 2.5 } });
    expect(rope).toMatchObject({ theta: 10000, scaling: { kind: 'linear', factor: 2.5 } });
  });

  it('rope_parameters of type default', () => {
    const rope = { rope_type: 'default', rope_theta: 77 };
    expect(readModelConfig({ ...llama, rope_parameters: rope }).rope).toMatchObject({
      theta: 77,
      scaling: { kind: 'none' },
    });
  });

  it('qwen2: windows by max_window_layers or by layer_types, only where use_sliding_window says so', () => {
    const qwen = { model_type: 'qwen2', ...small, num_key_value_heads: 2, sliding_window: 8, max_window_layers: 1 };
    expect(readModelConfig(qwen).windows).toEqual([null, null, null, null]);
    expect(readModelConfig({ ...qwen, use_sliding_window: true }).windows).toEqual([null, 8, 8, 8]);
    const types = ['sliding_attention', 'full_attention', 'full_attention', 'sliding_attention'];
    expect(readModelConfig({ ...qwen, use_sliding_window: true, layer_types: types }).windows).toEqual([
      8,
      null,
      null,
      8,
    ]);
  });

  it('token ids: a number, a list, null', () => {
    expect(readModelConfig({ ...llama, eos_token_id: [7, 8] }).eosTokenIds).toEqual([7, 8]);
    expect(readModelConfig({ ...llama, eos_token_id: null, bos_token_id: null })).toMatchObject({
      bosTokenId: null,
      eosTokenIds: [],
    });
  });

  it('head_dim need not divide hidden_size; biases', () => {
    const config = readModelConfig({ ...llama, hidden_size: 30, head_dim: 12, attention_bias: true, mlp_bias: true });
    expect(config).toMatchObject({
      headDim: 12,
      biases: { queryKeyValue: true, attentionOutput: true, feedForward: true },
    });
  });
});

it('configs are frozen all the way down', () => {
  const config = readModelConfig(llama);
  const parts: unknown[] = [
    config,
    config.rope,
    config.rope!.scaling,
    config.windows,
    config.biases,
    config.eosTokenIds,
  ];
  for (const part of parts) expect(Object.isFrozen(part)).toBe(true);
});

describe('what is refused', () => {
  const refusal = (json: unknown) => {
    try {
      readModelConfig(json);
    } catch (error) {
      return error as { code: string; message: string; details: { problems?: string[]; supported?: string[] } };
    }
    throw new Error('it was accepted');
  };

  it('an unknown architecture, naming what is supported', () => {
    const { code, message, details } = refusal({ model_type: 'mamba', state_size: 16 });
    expect(code).toBe('ARCHITECTURE_UNSUPPORTED');
    expect(message).toContain('llama, mistral, mixtral');
    expect(details.supported).toContain('qwen2');
  });

  it('a head that is not for language', () => {
    expect(refusal({ ...llama, architectures: ['LlamaForSequenceClassification'] })).toMatchObject({
      code: 'ARCHITECTURE_UNSUPPORTED',
      message: expect.stringContaining('LlamaForCausalLM') as string,
    });
  });

  it.each(['su', 'ntk'])('rope scaling %s, by name', (kind) => {
    const { code, message } = refusal({ ...llama, rope_scaling: { rope_type: kind, factor: 2 } });
    expect(code).toBe('CONFIG_INVALID');
    expect(message).toContain(`"${kind}"`);
  });

  it('several faults at once', () => {
    const { details } = refusal({ ...llama, num_attention_heads: 5, num_key_value_heads: 3, hidden_act: 'relu6' });
    expect(details.problems).toHaveLength(3);
  });

  it.each([
    ['not an object', null],
    ['no model_type', {}],
    ['a giant layer count', { ...llama, num_hidden_layers: 1e9 }],
    ['a giant width', { ...llama, hidden_size: 2 ** 40 }],
    ['a fraction', { ...llama, hidden_size: 32.5 }],
    ['a string for a number', { ...llama, vocab_size: '100' }],
    ['zero heads', { ...llama, num_attention_heads: 0 }],
    ['infinity', { ...llama, rope_theta: Infinity }],
    ['NaN', { ...llama, rms_norm_eps: NaN }],
    ['an odd head_dim', { ...llama, head_dim: 7 }],
    ['partial rotary', { ...llama, partial_rotary_factor: 0.5 }],
    ['linear scaling without a factor', { ...llama, rope_scaling: { type: 'linear' } }],
    [
      'llama3 bands the wrong way round',
      {
        ...llama,
        rope_scaling: {
          rope_type: 'llama3',
          factor: 8,
          low_freq_factor: 4,
          high_freq_factor: 1,
          original_max_position_embeddings: 16,
        },
      },
    ],
    ['too few layer_types', { ...llama, layer_types: ['full_attention'] }],
    [
      'unknown layer_types',
      { ...llama, layer_types: ['full_attention', 'full_attention', 'linear_attention', 'full_attention'] },
    ],
    ['an endless name', { model_type: 'x'.repeat(10_000) }],
  ])('%s', (_name, json) => {
    expect(refusal(json).code).toMatch(/^(CONFIG_INVALID|ARCHITECTURE_UNSUPPORTED)$/);
    expect(refusal(json).message.length).toBeLessThan(1000);
  });
});

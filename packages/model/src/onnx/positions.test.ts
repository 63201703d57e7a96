// Positions of every kind, on made-up models, against Pith's own evaluation: linear biases, and ropes that depend on the length.
import { cpuDevice } from '@pith/tensor-core/node';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { describe, expect, it } from 'vitest';
import { logits } from '../evaluate/logits.ts';
import { madeUpModel } from '../testing/folder-model.fixture.ts';
import { runOnnx, withDirectory } from '../testing/run-onnx.fixture.ts';
import { decoderFeeds, distance, exportOnnx } from './run-model.fixture.ts';

const llama = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  vocab_size: 40,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
};
const factors = (by: number) => Array.from({ length: 4 }, (_, i) => 1 + by * i);

const CONFIGS: [string, object][] = [
  ['bloom', { model_type: 'bloom', vocab_size: 40, hidden_size: 36, n_layer: 2, n_head: 6 }],
  ['dynamic', { ...llama, rope_scaling: { rope_type: 'dynamic', factor: 4 }, max_position_embeddings: 8 }],
  [
    'longrope',
    {
      ...llama,
      model_type: 'phi3',
      architectures: ['Phi3ForCausalLM'],
      original_max_position_embeddings: 8,
      rope_scaling: { rope_type: 'longrope', short_factor: factors(0.1), long_factor: factors(2) },
    },
  ],
];

describe.skipIf(!hasRuntime('onnxruntime-node'))('positions', () => {
  it.each(CONFIGS)('%s: short and long texts, with padding', async (_, config) => {
    const model = madeUpModel(config);
    const device = cpuDevice({ threads: 1 });
    await withDirectory(async (directory) => {
      const file = await exportOnnx(directory, model);
      const ids = Array.from({ length: 20 }, (_, i) => (7 * i + 3) % 40);
      const length = Math.min(20, model.config.maxPositions);
      for (const text of [ids.slice(0, 5), ids.slice(0, length)]) {
        const { data } = await logits(model, text, { device });
        const largest = distance(data, new Float32Array(data.length));
        const padded = decoderFeeds(model, [[0, 0, ...text]], [[0, 0, ...text.map(() => 1)]]);
        const [plain, behind] = runOnnx(file, [decoderFeeds(model, [text]), padded]).results;
        // f32 on both sides; angles and sums in another order, as a share of the largest logit.
        expect(distance(plain['logits'].data, data) / largest).toBeLessThan(1e-4);
        expect(distance(behind['logits'].data.subarray(2 * 40), data) / largest).toBeLessThan(1e-4);
      }
    });
    await device.dispose();
  });
});

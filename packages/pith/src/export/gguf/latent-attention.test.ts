// What the plan of a GGUF file says of latent attention: a weight that two tensors are made of, blocks that are left out.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeMadeUpCheckpoint } from '../../testing/made-up-checkpoint.fixture.ts';
import { exportModel, planExport } from '../export-model.ts';

let root: string;
let model: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-latent-'));
  model = join(root, 'model');
  const config = {
    model_type: 'deepseek_v3',
    vocab_size: 256,
    hidden_size: 64,
    num_attention_heads: 2,
    intermediate_size: 64,
    max_position_embeddings: 64,
    q_lora_rank: null,
    kv_lora_rank: 64,
    qk_nope_head_dim: 48,
    qk_rope_head_dim: 16,
    v_head_dim: 32,
    n_routed_experts: 4,
    num_experts_per_tok: 2,
    moe_intermediate_size: 32,
    n_group: 1,
    topk_group: 1,
    first_k_dense_replace: 1,
  };
  // Three blocks of which the config says two: the third is one that guesses.
  writeMadeUpCheckpoint(model, { ...config, num_hidden_layers: 3 });
  const path = join(model, 'config.json');
  const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...json, num_hidden_layers: 2, num_nextn_predict_layers: 1 }));
});
afterAll(() => rmSync(root, { recursive: true }));

const KV_B = 'model.layers.0.self_attn.kv_b_proj.weight';

describe('a GGUF file of latent attention', () => {
  it('keys and values of one weight go to two tensors; the bytes are those of both', async () => {
    const { tensors } = await planExport(model, { format: 'gguf:q8_0' });
    // 48 columns are no blocks of 32, 64 are: 2 heads of 64 rows as f16, 2 heads of 32 rows of 2 blocks of 34 bytes.
    expect(tensors.find(({ name }) => name === KV_B)).toMatchObject({
      action: 'quantize',
      reason: 'blk.0.attn_k_b.weight as f16; blk.0.attn_v_b.weight as q8_0',
      bytesBefore: 4 * 2 * 80 * 64,
      bytesAfter: 2 * 64 * 48 * 2 + 2 * 32 * 2 * 34,
    });
  });

  it('blocks that guess the tokens after the next are left out by name', async () => {
    const { tensors, notices } = await planExport(model, { format: 'gguf:f32' });
    const left = tensors.filter(({ action }) => action === 'omit');
    expect(left.length).toBeGreaterThan(10);
    for (const { name, reason } of left) {
      expect(name).toMatch(/^model\.layers\.2\./);
      expect(reason).toBe('left out: it belongs to a block that guesses the tokens after the next');
    }
    expect(notices.join()).toContain(`${left.length} tensors of model.layers.2 are left out`);
  });

  it('importances are measured for the values of each head, not for keys that are turned round', async () => {
    const text = join(root, 'text.txt');
    writeFileSync(text, 'Some words of a text that is looked at. '.repeat(40));
    const calibration = { text, context: 32, samples: 4 };
    const output = join(root, 'importance.gguf');
    const { notices } = await planExport(model, { format: 'gguf:q4_0', calibration });
    expect(notices.find((notice) => notice.includes('without importances'))).not.toContain('attn_v_b');
    await expect(exportModel(model, { format: 'gguf:q4_0', output, threads: 1, calibration })).resolves.toMatchObject({
      files: ['importance.gguf'],
    });
  });
});

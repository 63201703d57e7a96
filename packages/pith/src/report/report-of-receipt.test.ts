import { describeArchitecture, readModelConfig } from '@pith/model';
import { describe, expect, it } from 'vitest';
import type { Receipt } from '../receipt/types.ts';
import { reportOfReceipt } from './report-of-receipt.ts';

const config = {
  model_type: 'llama',
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 40,
  tie_word_embeddings: true,
};

const weight = (name: string, snrDb: number | null) => ({
  name,
  action: 'quantize',
  reason: '',
  shape: [16, 16],
  bytesBefore: 1024,
  bytesAfter: 256,
  ...(snrDb !== null && { error: { mse: 1, snrDb, maxError: 1 } }),
});

const stage = (id: string, kind: string, method: string, records: Record<string, Record<string, unknown>>) => ({
  id,
  kind,
  method,
  from: 'source',
  teachers: [],
  config: { method, scheme: { name: 'w4g128', bits: 4 }, range: { kind: 'mse' }, include: [], rank: 3 },
  records,
});

const receipt: Receipt = {
  receipt: 1,
  operation: 'compress',
  versions: { pith: '1.2.3' },
  options: {},
  planSha256: 'p',
  source: { architecture: 'llama', files: [], tensors: [], sha256: 's' },
  output: { format: 'compressed-tensors', files: [], tensors: [] },
  weights: [
    weight('model.embed_tokens.weight', null),
    weight('model.layers.1.self_attn.q_proj.weight', 12.5),
    weight('model.layers.1.mlp.down_proj.weight', null),
    weight('model.layers.0.input_layernorm.weight', null),
    weight('what.is.this', null),
  ],
  stages: [
    stage('stage-1', 'factorize', 'svd', {
      'a.weight': {
        rank: 2,
        spectrum: [
          [0, 3],
          [1, 1],
        ],
      },
      'b.weight': { rank: 1 },
    }),
    stage('stage-2', 'distill', 'distill', {
      training: {
        finalLoss: 4,
        curve: [
          { step: 0, loss: 5 },
          { step: 10, loss: 4 },
        ],
      },
    }),
  ],
  interventions: [{ stage: 'stage-1', code: 'DEAD_COLUMNS', where: 'x', message: 'm', details: {} }],
  totals: { parameters: 1000, bytesBefore: 5120, bytesAfter: 1280, bitsPerWeight: 10.24 },
  seal: '',
  run: {
    started: '',
    finished: 'then',
    seconds: 75,
    peakMemoryBytes: 3e8,
    threads: 2,
    resumedUnits: 0,
    units: 5,
    host: { node: 'v20', platform: 'linux', architecture: 'x64', processors: 4 },
  },
};

describe('reportOfReceipt', () => {
  const architecture = describeArchitecture(readModelConfig(config));
  const data = reportOfReceipt(receipt, { title: 'small', architecture });

  it('groups tensors by the table of the architecture, a tied embedding as an embedding', () => {
    expect(data.weights.map(({ part, module, layer, snrDb }) => [part, module, layer, snrDb])).toEqual([
      ['embedding', 'embed_tokens', null, null],
      ['attention', 'q_proj', 1, 12.5],
      ['feed-forward', 'down_proj', 1, null],
      ['norm', 'input_layernorm', 0, null],
      ['other', 'what.is.this', null, null],
    ]);
  });

  it('tells stages with short options, spectra and loss curves', () => {
    expect(data.stages).toEqual([
      { title: 'factorize svd', options: { scheme: 'w4g128', range: 'mse', rank: '3' } },
      { title: 'distill', options: { scheme: 'w4g128', range: 'mse', rank: '3' } },
    ]);
    expect(data.spectra).toEqual([
      {
        name: 'a.weight',
        rank: 2,
        values: [
          [0, 3],
          [1, 1],
        ],
      },
    ]);
    expect(data.losses).toEqual([
      {
        stage: 'distill',
        points: [
          [0, 5],
          [10, 4],
        ],
      },
    ]);
  });

  it('carries interventions and where it was made, and does not make up a quality', () => {
    expect(data.interventions).toHaveLength(1);
    expect(data.quality).toBeNull();
    expect(Object.fromEntries(data.provenance)).toMatchObject({ time: '1 min 15 s', versions: 'pith 1.2.3' });
  });
});

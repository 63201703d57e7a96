// Importances of experts: each has its own, in the file, in a calibration and in the quantizer. Also of a file that another writer
// has laid out: counts [experts, 1], sums [experts, columns].
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openGguf, planGguf, type GgufValue } from '@pith/checkpoint';
import { ggufTensors } from '@pith/model';
import { openModel } from '@pith/model/node';
import { quantizeGgmlRows } from '@pith/quant';
import { memoryBytes, randomStream } from '@pith/tensor-core';
import { createKernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeMadeUpCheckpoint } from '../../testing/made-up-checkpoint.fixture.ts';
import { exportModel, planExport } from '../export-model.ts';
import { measureImportance } from './measure-importance.ts';

const [EXPERTS, HIDDEN, WIDTH] = [3, 64, 96];
let root: string;
let model: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-experts-'));
  model = join(root, 'model');
  writeMadeUpCheckpoint(model, {
    model_type: 'mixtral',
    vocab_size: 64,
    hidden_size: HIDDEN,
    intermediate_size: WIDTH,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
    num_local_experts: EXPERTS,
    num_experts_per_tok: 1,
    bos_token_id: 1,
    eos_token_id: 2,
  });
});
afterAll(() => rmSync(root, { recursive: true }));

/** Sums and counts of each stack; `counts` says how many tokens each expert saw. */
function writeImatrix(file: string, counts: readonly number[], columnsOf = (columns: number) => columns) {
  const random = randomStream(9, 'experts');
  const tensors = [
    ['ffn_gate_exps', HIDDEN],
    ['ffn_up_exps', HIDDEN],
    ['ffn_down_exps', WIDTH],
  ].flatMap(([name, columns]) => {
    const wide = columnsOf(columns as number);
    const sums = Float32Array.from({ length: counts.length * wide }, (_, i) => {
      return counts[Math.floor(i / wide)]! * random.uniform() ** 6;
    });
    return [
      { name: `blk.0.${name}.weight.in_sum2`, shape: [counts.length, wide], values: sums },
      { name: `blk.0.${name}.weight.counts`, shape: [counts.length, 1], values: Float32Array.from(counts) },
    ];
  });
  const metadata = new Map<string, GgufValue>([['general.type', { type: 'string', value: 'imatrix' }]]);
  const layout = planGguf(
    metadata,
    tensors.map(({ name, shape }) => ({ name, shape, type: 'f32' as const })),
  );
  const bytes = new Uint8Array(layout.byteLength);
  bytes.set(layout.header);
  layout.tensors.forEach(({ offset }, i) => bytes.set(new Uint8Array(tensors[i]!.values.buffer), offset));
  const path = join(root, file);
  writeFileSync(path, bytes);
  return { path, sums: new Map(tensors.map(({ name, values }) => [name, values])) };
}

describe('importances of experts', () => {
  it('each expert is quantized with its own', async () => {
    const counts = [5, 0, 9];
    const { path, sums } = writeImatrix('experts.gguf', counts);
    const output = join(root, 'q4.gguf');
    await exportModel(model, { format: 'gguf:q4_0', output, importance: path, threads: 1 });
    const { tensors } = await openGguf(memoryBytes(readFileSync(output)), output);
    const opened = await openModel(model);
    for (const [name, part, columns] of [
      ['ffn_gate_exps', 'w1', HIDDEN],
      ['ffn_up_exps', 'w3', HIDDEN],
      ['ffn_down_exps', 'w2', WIDTH],
    ] as const) {
      const { source, byteLength, shape, type } = tensors.get(`blk.0.${name}.weight`)!;
      expect([shape[0], type]).toEqual([EXPERTS, 'q4_0']);
      const each = byteLength / EXPERTS;
      for (let expert = 0; expert < EXPERTS; expert++) {
        const weight = opened.weights.get(`model.layers.0.block_sparse_moe.experts.${expert}.${part}.weight`)!;
        const own = sums.get(`blk.0.${name}.weight.in_sum2`)!.slice(expert * columns, (expert + 1) * columns);
        // One that saw no token: all columns count the same.
        const means = own.map((sum) => (counts[expert] === 0 ? 1 : sum / counts[expert]!));
        const values = await weight.toF32();
        const alone = await quantizeGgmlRows('q4_0', values, columns, means);
        expect(Uint8Array.from(await source.read(expert * each, each)), `${name} ${expert}`).toEqual(alone);
        if (counts[expert] !== 0) expect(alone).not.toEqual(await quantizeGgmlRows('q4_0', values, columns));
      }
    }
    await opened.close();
  });

  it('refuses other numbers of experts or columns, tensor by tensor', async () => {
    const codes = async (path: string) =>
      (await planExport(model, { format: 'gguf:q4_0', importance: path })).problems.map(({ code, name }) => [
        code,
        name,
      ]);
    const stacks = ['ffn_gate_exps', 'ffn_up_exps', 'ffn_down_exps'].map((name) => [
      'IMATRIX_SIZE',
      `blk.0.${name}.weight`,
    ]);
    expect(await codes(writeImatrix('two.gguf', [4, 4]).path)).toEqual(stacks);
    expect(await codes(writeImatrix('wide.gguf', [4, 4, 4], (columns) => columns + 1).path)).toEqual(stacks);
  });

  it('a calibration counts for each expert the tokens that it saw, and no others', async () => {
    const ids = join(root, 'ids.json');
    writeFileSync(ids, JSON.stringify(Array.from({ length: 124 }, (_, i) => (7 * i * i + 3 * i) % 60)));
    const opened = await openModel(model);
    const pool = createKernelPool({ threads: 1 });
    const request = { name: 'x', threads: 1, seed: 0, calibration: { text: ids, samples: 4, context: 32 } };
    const entries = await measureImportance(opened, ggufTensors(opened.architecture), request, {
      directory: root,
      pool,
    });
    await pool.dispose();
    await opened.close();
    const { meanSquares, experts } = entries.get('blk.0.ffn_up_exps.weight')!;
    expect([experts, meanSquares.length]).toEqual([EXPERTS, EXPERTS * HIDDEN]);
    const rows = Array.from({ length: EXPERTS }, (_, e) => [...meanSquares.subarray(e * HIDDEN, (e + 1) * HIDDEN)]);
    // The same input goes to the gate, another to the way down; each expert has seen other tokens.
    expect(entries.get('blk.0.ffn_gate_exps.weight')!.meanSquares).toEqual(meanSquares);
    expect(new Set(rows.map((row) => row.join())).size).toBe(EXPERTS);
    expect(entries.get('blk.0.ffn_down_exps.weight')!.meanSquares).toHaveLength(EXPERTS * WIDTH);
  });
});

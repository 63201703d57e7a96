import { expect, it } from 'vitest';
import { genericTable } from './generic-table.ts';
import { planRtn } from './plan-rtn.ts';
import { rtnConfig } from './rtn-config.ts';

const TENSORS = (
  [
    ['backbone.embeddings.weight', [100, 64]],
    ['backbone.layers.0.mixer.in_proj.weight', [128, 64]],
    ['backbone.layers.0.mixer.conv1d.weight', [128, 1, 4]],
    ['backbone.layers.0.mixer.A_log', [128, 16]],
    ['backbone.layers.0.mlp.gate.weight', [8, 64]],
    ['backbone.layers.0.mlp.gate_proj.weight', [96, 64]],
    ['backbone.layers.0.norm.weight', [64]],
    ['lm_head.weight', [100, 64]],
  ] as const
).map(([name, shape]) => ({
  name,
  shape,
  dtype: 'bf16' as const,
  byteLength: 2 * shape.reduce((a: number, b: number) => a * b, 1),
}));

it('takes matrices that look like linear layers, and says why it leaves the others', () => {
  const { table, left } = genericTable(TENSORS);
  expect(table.blocks[0]!.linears.map(({ path }) => path)).toEqual([
    'backbone.layers.0.mixer.in_proj',
    'backbone.layers.0.mlp.gate_proj',
  ]);
  expect(table.head.path).toBe('lm_head');
  expect(left).toEqual([
    { name: 'backbone.embeddings.weight', reason: 'looks like a table that is looked up' },
    { name: 'backbone.layers.0.mixer.A_log', reason: "a matrix that is no module's weight" },
    { name: 'backbone.layers.0.mlp.gate.weight', reason: 'looks like a router' },
  ]);
});

it('is planned like any table: the head is kept, the rest rounded', () => {
  const plan = planRtn(genericTable(TENSORS).table, TENSORS, rtnConfig({ scheme: 'w4g32' }));
  expect(plan.problems).toEqual([]);
  expect(plan.tensors.filter(({ action }) => action === 'quantize').map(({ name }) => name)).toEqual([
    'backbone.layers.0.mixer.in_proj.weight',
    'backbone.layers.0.mlp.gate_proj.weight',
  ]);
});

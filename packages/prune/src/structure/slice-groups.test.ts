import { describe, expect, it } from 'vitest';
import { madeUpModel, smallConfig } from './made-up-model.fixture.ts';
import { sliceGroups } from './slice-groups.ts';

const { architecture } = madeUpModel(smallConfig('llama', { attention_bias: true, mlp_bias: true, head_dim: 6 }));

describe('sliceGroups', () => {
  it('puts a key-value head together with the two query heads that read it', () => {
    const groups = sliceGroups(architecture, 'kv-groups');
    expect(groups.map(({ block, index }) => [block, index])).toEqual([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]); // prettier-ignore
    // Query heads 2 and 3 of 6 values each; key-value head 1.
    const at = 'model.layers.0.self_attn';
    expect(groups[1]!.slices).toEqual([
      { name: `${at}.q_proj.weight`, axis: 'rows', start: 12, length: 12 },
      { name: `${at}.q_proj.bias`, axis: 'rows', start: 12, length: 12 },
      { name: `${at}.k_proj.weight`, axis: 'rows', start: 6, length: 6 },
      { name: `${at}.k_proj.bias`, axis: 'rows', start: 6, length: 6 },
      { name: `${at}.v_proj.weight`, axis: 'rows', start: 6, length: 6 },
      { name: `${at}.v_proj.bias`, axis: 'rows', start: 6, length: 6 },
      { name: `${at}.o_proj.weight`, axis: 'columns', start: 12, length: 12 },
    ]);
  });

  it('puts a neuron of the gate together with that of the other branch and the column behind both', () => {
    const groups = sliceGroups(architecture, 'neurons');
    expect(groups).toHaveLength(3 * 24);
    const at = 'model.layers.1.mlp';
    expect(groups[24 + 5]).toEqual({
      kind: 'neurons',
      block: 1,
      index: 5,
      slices: [
        { name: `${at}.gate_proj.weight`, axis: 'rows', start: 5, length: 1 },
        { name: `${at}.gate_proj.bias`, axis: 'rows', start: 5, length: 1 },
        { name: `${at}.up_proj.weight`, axis: 'rows', start: 5, length: 1 },
        { name: `${at}.up_proj.bias`, axis: 'rows', start: 5, length: 1 },
        { name: `${at}.down_proj.weight`, axis: 'columns', start: 5, length: 1 },
      ],
    });
  });

  it('takes a layer as all rows of all its tensors', () => {
    const [, layer] = sliceGroups(architecture, 'layers');
    const expected = [...architecture.blocks[1]!.norms, ...architecture.blocks[1]!.linears].map(({ name }) => name);
    const names = layer!.slices.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(expected));
    expect(names).toHaveLength(2 + 7 * 2);
    expect(layer!.slices.every(({ axis, start }) => axis === 'rows' && start === 0)).toBe(true);
  });
});

// A method of one's own: pruning by relative importance and activations.
// Source: Zhang et al. 2024, "Plug-and-Play: An Efficient Post-Training Pruning Method for Large Language Models", section 3.1.
import { linearSelector } from '@pith/model';
import { apply, columnNorms, mask } from '@pith/prune';
import { denseWeight, fromF32, memoryBytes } from '@pith/tensor-core';

/**
 * The maths: (|W_ij| / sum of row i + |W_ij| / sum of column j) * norm_j^a, f32 [rows, columns]. A weight matters that is large
 * for its row and for its column, so that no channel is lost as a whole.
 *
 * @param {Float32Array} weights [rows, columns] row-major
 * @param {Float32Array} norms [columns] of the inputs
 * @param {number} a
 */
export function riaScore(weights, norms, a = 0.5) {
  const columns = norms.length;
  const rowSums = new Float64Array(weights.length / columns);
  const columnSums = new Float64Array(columns);
  weights.forEach((w, i) => {
    rowSums[Math.floor(i / columns)] += Math.abs(w);
    columnSums[i % columns] += Math.abs(w);
  });
  return weights.map((w, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    if (w === 0) return 0;
    return (Math.abs(w) / rowSums[row] + Math.abs(w) / columnSums[column]) * norms[column] ** a;
  });
}

/**
 * The pass: what it will do, what it wants to know, and what it does to the linears of one block.
 *
 * @param {{ sparsity: number, include?: readonly string[], ignore?: readonly string[] }} options
 * @returns {import('@pith/model').BlockPass}
 */
export function riaPass({ sparsity, include = [], ignore = [] }) {
  const selected = linearSelector({ include, ignore });
  const pattern = /** @type {const} */ ({ kind: 'unstructured', sparsity });
  return {
    name: 'ria',
    config: Object.freeze({ method: 'ria', sparsity }),
    plan: () => ({ changes: [], problems: [], notices: [] }),
    needs: (linear) => (selected(linear) ? ['norms'] : []),
    async apply(stage) {
      const weights = new Map();
      /** @type {Record<string, { zeros: number }>} */
      const records = {};
      for (const { name, inputGroup } of stage.linears.filter(selected)) {
        const weight = stage.weights.get(name);
        if (weight?.kind !== 'dense') throw new Error(`ria ${name}: the weight must be dense, got ${weight?.kind}`);
        const values = await weight.toF32();
        const norms = columnNorms(stage.statistics.get(inputGroup).squares);
        const kept = mask(riaScore(values, norms), norms.length, { pattern, comparison: 'row' });
        const { dtype, shape } = weight;
        const source = memoryBytes(fromF32(dtype, apply(values, kept)));
        weights.set(name, denseWeight({ name, dtype, shape, source }));
        records[name] = { zeros: kept.reduce((sum, stays) => sum + 1 - stays, 0) };
      }
      return { weights, records, interventions: [] };
    },
  };
}

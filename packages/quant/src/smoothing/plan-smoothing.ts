// What folding of input scales will change, from headers alone, and where it cannot.
import type { LinearSpec, PlannedModel, WeightChange } from '@pith/model';
import type { WeightTensor } from '@pith/tensor-core';
import { foldObstacle } from './fold.ts';
import { smoothingSets } from './smoothing-sets.ts';

/** The part of a plan that folding makes. */
export interface SmoothingPlan {
  /** Tensors that are scaled and not quantized: norms, biases, linears that are left alone. */
  readonly changes: readonly WeightChange[];
  /** Linears that are not scaled, and why. */
  readonly notices: readonly string[];
}

/** Plans the folding for the linears that are `selected`; `foldable` may leave sets out. */
export function planSmoothing(model: PlannedModel, selected: readonly LinearSpec[], onlyNorms = false): SmoothingPlan {
  const paths = new Set(selected.map(({ path }) => path));
  const kinds = model.weights as ReadonlyMap<string, Pick<WeightTensor, 'kind'>>;
  const scaled = new Map<string, string>();
  const notices: string[] = [];
  for (const block of model.architecture.blocks) {
    for (const set of smoothingSets(block)) {
      if (!set.linears.some(({ path }) => paths.has(path))) continue;
      if (onlyNorms && set.fold.kind !== 'norm') continue;
      const obstacle = foldObstacle(kinds, set);
      if (obstacle !== undefined) {
        notices.push(`${set.linears.map(({ path }) => path).join(', ')}: input scales cannot be folded (${obstacle})`);
        continue;
      }
      const readers = set.linears.map(({ path }) => path).join(', ');
      const targets =
        set.fold.kind === 'norm'
          ? [set.fold.norm.name, set.fold.norm.biasName]
          : set.fold.kind === 'linear'
            ? [set.fold.linear.name, set.fold.linear.biasName]
            : [];
      for (const name of targets) if (name !== null) scaled.set(name, `takes up the input scales of ${readers}`);
      for (const { name, path } of set.linears) if (!paths.has(path)) scaled.set(name, 'shares scaled inputs');
    }
  }
  const quantized = new Set(selected.map(({ name }) => name));
  const changes = [...scaled].flatMap(([name, reason]): WeightChange[] => {
    const weight = model.weights.get(name);
    return weight && !quantized.has(name) ? [{ name, action: 'scale', reason, after: weight }] : [];
  });
  return { changes, notices };
}

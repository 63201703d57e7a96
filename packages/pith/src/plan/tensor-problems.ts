// Tensors that are not those of config.json, as problems of a plan: what is made of such a checkpoint no model opens.
import { tensorDifferences, type Architecture } from '@pith/model';
import type { StoredTensor } from '@pith/checkpoint';
import type { PlanProblem } from './types.ts';

/** A problem for each tensor that is missing, left over, or of another shape. */
export function tensorProblems(
  architecture: Architecture,
  tensors: ReadonlyMap<string, Pick<StoredTensor, 'shape'>>,
): PlanProblem[] {
  const { missing, unexpected, wrongShape } = tensorDifferences(architecture, tensors);
  const { modelType } = architecture.config;
  const other = 'config.json and the weights belong to different models: fetch both from one place';
  return [
    ...missing.map((name) => ({
      code: 'TENSOR_MISSING',
      name,
      message: `${name} must be there by config.json, the checkpoint has no tensor of this name; fetch the checkpoint again: a shard may be missing`,
    })),
    ...unexpected.map((name) => ({
      code: 'TENSOR_UNEXPECTED',
      name,
      message: `${name} is no tensor of ${modelType} as config.json has it; ${other}`,
    })),
    ...wrongShape.map(({ name, expected, found }) => ({
      code: 'SHAPE_UNEXPECTED',
      name,
      message: `${name} must be [${expected.join(', ')}] by config.json, got [${found.join(', ')}]; ${other}`,
    })),
  ];
}

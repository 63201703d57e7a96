// Matrices outside of the blocks (embedding, output projection) that a variant of a format codes beside what stages did: MLX's.
import { plannedWeight, type Architecture, type PlannedWeight } from '@pith/model';
import { isPithError, type WeightTensor } from '@pith/tensor-core';
import type { OutputFormat } from '../export/output-format.ts';
import type { PlanProblem } from '../plan/types.ts';
import { unreadWeight } from './layout.ts';

/** How an artefact's matrices outside of the blocks are coded. */
export interface OutsideCodes {
  /** The weight, or its rounded form where the format codes it and no stage did. */
  readonly code: (weight: WeightTensor) => WeightTensor;
  /** The same of a planned weight; what cannot be rounded stays, and is told. */
  readonly plan: (weight: PlannedWeight, problems: PlanProblem[]) => PlannedWeight;
  /** What is done to a weight in words; undefined for those that stay. */
  readonly reason: (weight: PlannedWeight) => string | undefined;
}

/** What a format codes of an architecture outside of its blocks: nothing without a variant that does. */
export function outsideCodes({ text, coding }: OutputFormat, { embedding, head }: Architecture): OutsideCodes {
  const names = new Map(
    coding?.everything === true
      ? [
          [`${head.path}.weight`, 'output projection'],
          [embedding.name, 'token embedding'],
        ]
      : [],
  );
  const code = (weight: WeightTensor): WeightTensor =>
    coding !== undefined && names.has(weight.name) && weight.kind === 'dense' ? coding.round(weight) : weight;
  return {
    code,
    plan: (weight, problems) => {
      if (!names.has(weight.name) || weight.kind !== 'dense' || weight.scheme !== undefined) return weight;
      try {
        return plannedWeight(code(unreadWeight(weight)));
      } catch (error) {
        if (!isPithError(error) || error.kind !== 'input') throw error;
        problems.push({ code: error.code, name: weight.name, message: error.message });
        return weight;
      }
    },
    reason: ({ name }) => {
      const what = names.get(name);
      return what === undefined ? undefined : `${what}, rounded to nearest as ${text} has it`;
    },
  };
}

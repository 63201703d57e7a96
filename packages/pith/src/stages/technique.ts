// A stage of a recipe as what the technique packages offer: a pass over the blocks, or a transform of the whole model.
import type { BlockPass, ModelTransform } from '@pith/model';
import { isPithError, PithError } from '@pith/tensor-core';
import type { OrderedStage } from '../recipe/order-stages.ts';
import { methodOf } from '../recipe/recipe-schema.ts';
import type { StageKind } from '../recipe/stage-kinds.ts';
import type { RecipeStage } from '../recipe/types.ts';

/** A technique at work on one block after the other. */
export interface PassTechnique {
  readonly kind: 'pass';
  readonly pass: BlockPass;
}

/** A technique that needs the whole model at once. */
export interface TransformTechnique {
  readonly kind: 'transform';
  readonly transform: ModelTransform;
}

/** What carries out a stage. */
export type Technique = PassTechnique | TransformTechnique;

/** A stage that can be planned and run. */
export interface Step extends Pick<OrderedStage, 'id' | 'from' | 'teachers'> {
  readonly kind: StageKind;
  readonly method: string;
  readonly technique: Technique;
  /** The text that it trains on, where it has one of its own. */
  readonly data?: NonNullable<RecipeStage['data']>;
}

/** Makes the technique of a stage from its options. */
export type TechniqueMaker = (kind: StageKind, options: Readonly<Record<string, unknown>>) => Technique;

/**
 * Stages as steps.
 *
 * @throws PithError those of the technique; `RECIPE_INVALID` where several stages have wrong options, with all of them.
 */
export function makeSteps(stages: readonly OrderedStage[], make: TechniqueMaker): readonly Step[] {
  const steps: Step[] = [];
  const failures: { readonly id: string; readonly error: PithError }[] = [];
  for (const { id, from, teachers, stage } of stages) {
    const { kind, options } = methodOf(stage);
    try {
      steps.push({
        id,
        from,
        teachers,
        kind,
        method: options.method,
        technique: make(kind, options),
        ...(stage.data && { data: stage.data }),
      });
    } catch (error) {
      if (!isPithError(error) || error.kind !== 'input') throw error;
      failures.push({ id, error });
    }
  }
  const [first] = failures;
  if (first === undefined) return steps;
  if (stages.length === 1) throw first.error;
  const problems = failures.map(({ id, error }) => `stage ${id}: ${error.message}`);
  throw new PithError('RECIPE_INVALID', `recipe: ${problems.join('; ')}`, {
    details: { problems },
    cause: first.error,
  });
}

/** The configuration of a step's technique, as the receipt records it. */
export function configOf({ technique }: Step): Readonly<Record<string, unknown>> {
  return technique.kind === 'pass' ? technique.pass.config : technique.transform.config;
}

/** `quantize gptq`. */
export function titleOf({ kind, method }: Pick<Step, 'kind' | 'method'>): string {
  return `${kind} ${method}`;
}

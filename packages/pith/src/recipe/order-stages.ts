// Which model each stage starts from and learns from, and an order in which all of them can run.
import { nearestWord, PithError } from '@pith/tensor-core';
import type { RecipeStage } from './types.ts';

/** Name of the model that a recipe starts from. */
export const SOURCE = 'source';

/** A stage with its references resolved. */
export interface OrderedStage {
  /** Its own id, or one made from its place: `stage-2`. */
  readonly id: string;
  /** Model that it starts from: `source` or an id. */
  readonly from: string;
  /** Models that teach it. */
  readonly teachers: readonly string[];
  readonly stage: RecipeStage;
}

/**
 * The stages in an order in which every model is there before it is needed; the last one of the recipe comes last and
 * is the result.
 *
 * @throws PithError `RECIPE_REFERENCE` for an unknown or repeated id, a circle, and a stage that nothing uses.
 */
export function orderStages(
  stages: readonly RecipeStage[],
  models: readonly string[] = [],
  name = 'recipe',
): readonly OrderedStage[] {
  const problems: string[] = [];
  const ids = stages.map((stage, index) => stage.id ?? `stage-${index + 1}`);
  const given = [SOURCE, ...models];
  for (const [index, id] of ids.entries()) {
    if (models.includes(id)) problems.push(`stages[${index}].id: "${id}" is the name of a model too`);
    if (ids.indexOf(id) < index) problems.push(`stages[${index}].id: "${id}" is taken by another stage`);
  }
  const resolved = stages.map((stage, index): OrderedStage => {
    const from = stage.from ?? (index === 0 ? SOURCE : ids[index - 1]!);
    const teachers = teachersOf(stage);
    const used = [
      ...(stage.from === undefined ? [] : [['from', stage.from] as const]),
      ...teachers.map((teacher) => ['teacher', teacher] as const),
    ];
    for (const [key, reference] of used) {
      if (given.includes(reference) || ids.includes(reference)) continue;
      const near = nearestWord(reference, [...given, ...ids]);
      problems.push(
        `stages[${index}].${key}: there is no model "${reference}"; known are ${[...given, ...ids].join(', ')}` +
          (near === undefined ? '' : `; did you mean ${near}?`),
      );
    }
    return { id: ids[index]!, from, teachers, stage };
  });
  if (problems.length === 0) problems.push(...circles(resolved), ...unused(resolved));
  if (problems.length > 0) {
    throw new PithError('RECIPE_REFERENCE', `${name}: ${problems.join('; ')}`, { details: { problems } });
  }
  return sorted(resolved);
}

/** Says what {@link orderStages} would refuse. */
export function checkStageReferences(stages: readonly RecipeStage[], models: readonly string[], name: string): void {
  orderStages(stages, models, name);
}

function teachersOf({ teacher }: RecipeStage): readonly string[] {
  return teacher === undefined ? [] : typeof teacher === 'string' ? [teacher] : teacher;
}

function needs({ from, teachers }: OrderedStage): readonly string[] {
  return [from, ...teachers];
}

function circles(stages: readonly OrderedStage[]): string[] {
  const byId = new Map(stages.map((stage) => [stage.id, stage]));
  const clear = new Set<string>();
  const walk = (id: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(id)) return [...path.slice(path.indexOf(id)), id];
    if (clear.has(id)) return undefined;
    for (const next of needs(byId.get(id)!).filter((other) => byId.has(other))) {
      const found = walk(next, [...path, id]);
      if (found !== undefined) return found;
    }
    clear.add(id);
    return undefined;
  };
  for (const { id } of stages) {
    const path = walk(id, []);
    if (path === undefined) continue;
    return [`the stages go round in a circle: ${path.join(' needs ')}; start one of them from another model`];
  }
  return [];
}

function unused(stages: readonly OrderedStage[]): string[] {
  const used = new Set(stages.flatMap(needs));
  return stages
    .slice(0, -1)
    .filter(({ id }) => !used.has(id))
    .map(({ id }) => `stage "${id}" leads to nothing: no stage starts from it, and it is not the last`);
}

/** Depth first from the last stage: what it needs comes before it, in the order of the recipe where that is free. */
function sorted(stages: readonly OrderedStage[]): OrderedStage[] {
  const byId = new Map(stages.map((stage) => [stage.id, stage]));
  const done = new Set<OrderedStage>();
  const visit = (stage: OrderedStage): void => {
    if (done.has(stage)) return;
    for (const id of needs(stage)) if (byId.has(id)) visit(byId.get(id)!);
    done.add(stage);
  };
  for (const stage of stages) visit(stage);
  return [...done];
}

// A block pass on a whole model at once, for techniques that prune more than once.
import { runBlocks } from '@pith/model';
import type { BlockPass, Intervention, LanguageModel, StageResult, TransformContext } from '@pith/model';
import { throwIfStopped, type WeightTensor } from '@pith/tensor-core';
import { withinMemory } from '../structure/within-memory.ts';

/** What a pass made of a model. */
export interface PassedModel {
  /** With the new weights. */
  readonly model: LanguageModel;
  /** Facts per tensor. */
  readonly records: StageResult['records'];
  /** Rescues and exceptions. */
  readonly interventions: readonly Intervention[];
}

/** Runs a pass over all blocks. One that wants no statistics needs no windows. @throws what `runBlocks` throws. */
export async function runPass(model: LanguageModel, pass: BlockPass, context: TransformContext): Promise<PassedModel> {
  const weights = new Map<string, WeightTensor>(model.weights);
  let records: StageResult['records'] = {};
  const interventions: Intervention[] = [];
  const keep = (result: Pick<StageResult, 'weights' | 'interventions'>, found: readonly StageResult['records'][]) => {
    for (const [name, weight] of result.weights) weights.set(name, weight);
    records = Object.assign({}, records, ...found) as StageResult['records'];
    interventions.push(...result.interventions);
  };
  const { device, pool, windows, seed, signal, progress } = context;
  const { blocks } = model.architecture;
  const gradients = pass.needsGradients;
  const blind = blocks.every(({ linears }) =>
    linears.every((linear) => pass.needs(linear).length === 0 && (gradients?.(linear) ?? []).length === 0),
  );
  if (blind) {
    for (const block of blocks) {
      throwIfStopped(signal, pass.name);
      const stage = { block, linears: block.linears, weights, statistics: new Map() };
      const result = await pass.apply(stage, context);
      keep(result, [result.records]);
    }
  } else {
    await runBlocks(model, {
      device,
      pool,
      windows,
      seed,
      passes: [pass],
      ...(await withinMemory(model, [pass], context)),
      onBlock: (outcome) => {
        keep(
          outcome,
          outcome.records.map((entry) => entry.records),
        );
        return Promise.resolve();
      },
      ...(signal && { signal }),
      ...(progress && { progress }),
    });
  }
  return { model: { ...model, weights }, records, interventions };
}

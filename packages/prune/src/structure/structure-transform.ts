// Structured pruning: whole layers (block influence, Men et al. 2024), whole experts, neurons of the feed-forward part,
// key-value groups with their query heads. Tensors really get smaller, and the config stays one that every runtime of the model reads:
// therefore each layer loses the same number of units.
import { blockInfluences } from '@pith/model';
import type { LanguageModel, ModelTransform, TransformContext, TransformResult } from '@pith/model';
import { PithError } from '@pith/tensor-core';
import { highestScores, leastLayers } from './choose.ts';
import { expertSets, routerSlices } from './expert-units.ts';
import { isSliceable } from './gathered-weight.ts';
import { planStructure } from './plan-structure.ts';
import { rankExperts } from './rank-experts.ts';
import { rankUnits } from './rank-units.ts';
import { countOf, loses, reductionOf, type Reduction } from './reduction.ts';
import { configChanges, keepExperts, keepLayers, keepUnits, keptSlices } from './restructured-model.ts';
import { unitAxes } from './slice-groups.ts';
import { withinMemory } from './within-memory.ts';
import { structureConfig, type StructureConfig, type StructureOptions } from './structure-config.ts';

/**
 * Removes whole layers, experts, neurons or key-value groups. Layers go first, then experts; units are ranked on what is left.
 *
 * `apply` throws PithError `STRUCTURE_IMPOSSIBLE` with every problem of the plan, `SCORES_NOT_FINITE`, and what
 * calibration throws.
 *
 * @throws PithError `CONFIG_INVALID` with every bad option.
 */
export function structureTransform(options: StructureOptions): ModelTransform {
  const config = structureConfig(options);
  return Object.freeze<ModelTransform>({
    name: 'structure',
    config: { ...config },
    calibrated: isCalibrated(config),
    plan: (model) => planStructure(model, config),
    apply: (model, context) => applyStructure(model, config, context),
  });
}

function isCalibrated({ layers, neurons, kvGroups, experts, score }: StructureConfig): boolean {
  const ranked = [neurons, kvGroups, experts].some((amount) => amount !== null);
  return typeof layers === 'number' || (ranked && score !== 'magnitude');
}

type Records = Record<string, Record<string, unknown>>;

async function applyStructure(
  model: LanguageModel,
  config: StructureConfig,
  context: TransformContext,
): Promise<TransformResult> {
  const { model: smaller, records, interventions } = await restructure(model, config, context);
  return { weights: smaller.weights, config: configChanges(model.config, smaller.config), records, interventions };
}

/** What {@link restructure} made. */
export interface Restructured {
  /** The smaller model. */
  readonly model: LanguageModel;
  /** Facts per layer, and per linear that reads units. */
  readonly records: TransformResult['records'];
  /** What calibration noticed: experts without tokens. */
  readonly interventions: TransformResult['interventions'];
}

/** Structured pruning as a function of models. @throws as the `apply` of {@link structureTransform} does. */
export async function restructure(
  model: LanguageModel,
  config: StructureConfig,
  context: TransformContext,
): Promise<Restructured> {
  const reduction = possible(model, config);
  const records: Records = {};
  const shorter = await withoutLayers(model, reduction, config, context, records);
  const fewer = await withoutExperts(shorter, reduction, config, context, records);
  const { model: made, interventions } = await withoutUnits(fewer.model, reduction, config, context, records);
  return { model: made, records, interventions: [...fewer.interventions, ...interventions] };
}

/** The reduction, or an error with everything that is in its way. */
function possible(model: LanguageModel, config: StructureConfig): Reduction {
  const problems: { code: string; name: string; message: string }[] = [];
  const reduction = reductionOf(model.architecture, config, problems);
  const messages = problems.map(({ message }) => message);
  const { blocks } = model.architecture;
  const kinds = [
    ...(config.neurons === null && (config.expertNeurons ?? null) === null ? [] : (['neurons'] as const)),
    ...(config.kvGroups === null ? [] : (['kv-groups'] as const)),
  ];
  const axes = blocks.flatMap((block) => kinds.flatMap((kind) => unitAxes(block, kind)));
  const sliced = keptSlices(model, new Map(axes.map(({ reader }) => [reader.name, new Uint32Array(1)])));
  const routers =
    config.experts === null
      ? []
      : expertSets(model.architecture).map(({ router }) => [router.name, new Uint32Array(1)] as const);
  const cut = [...sliced.keys(), ...routerSlices(model.architecture, new Map(routers)).keys()];
  const stuck = cut.filter((name) => !isSliceable(model.weights.get(name)!));
  if (stuck.length > 0) {
    const shown = stuck.slice(0, 4).join(', ') + (stuck.length > 4 ? ` and ${stuck.length - 4} more` : '');
    messages.push(`weights must be dense or factored to lose rows or columns, got others in ${shown}`);
  }
  if (messages.length === 0) return reduction;
  throw new PithError('STRUCTURE_IMPOSSIBLE', `structured pruning: ${messages.join('; ')}`, {
    details: { problems, notSliceable: stuck },
  });
}

async function withoutLayers(
  model: LanguageModel,
  { layers, namedLayers }: Reduction,
  { contiguous }: StructureConfig,
  context: TransformContext,
  records: Records,
): Promise<LanguageModel> {
  if (layers.kept === layers.total) return model;
  const { blocks } = model.architecture;
  let removed = namedLayers;
  if (removed === null) {
    const { device, windows, signal, progress } = context;
    const influences = await blockInfluences(model, {
      device,
      windows,
      ...(await withinMemory(model, [], context)),
      ...(signal && { signal }),
      ...(progress && { progress }),
    });
    removed = leastLayers(
      influences.map(({ influence }) => influence),
      layers.total - layers.kept,
      contiguous,
    );
    for (const { block, influence } of influences) records[blocks[block]!.path] = { influence };
  }
  const gone = new Set(removed);
  let position = 0;
  for (const { path, index } of blocks) {
    const becomes = gone.has(index) ? null : blocks[position++]!.path;
    records[path] = { ...records[path], removed: gone.has(index), becomes };
  }
  return keepLayers(
    model,
    blocks.map(({ index }) => index).filter((index) => !gone.has(index)),
  );
}

async function withoutExperts(
  model: LanguageModel,
  { experts: { kept, total } }: Reduction,
  { score }: StructureConfig,
  context: TransformContext,
  records: Records,
): Promise<Omit<Restructured, 'records'>> {
  if (kept === total) return { model, interventions: [] };
  const { scores, interventions } = await rankExperts(model, score, context);
  const chosen = new Map<string, Uint32Array>();
  for (const [name, own] of scores) {
    const stay = highestScores(own, kept, `experts of ${name}`);
    chosen.set(name, stay);
    records[name] = {
      unit: 'experts',
      score,
      kept,
      removed: removedRanges(stay, total),
      lostShare: lostShare(own, stay),
    };
  }
  return { model: keepExperts(model, chosen), interventions };
}

const RECORD_KEY = { neurons: 'neurons', 'kv-groups': 'kvGroups' } as const;

async function withoutUnits(
  model: LanguageModel,
  reduction: Reduction,
  { score }: StructureConfig,
  context: TransformContext,
  records: Records,
): Promise<Omit<Restructured, 'records'>> {
  const kinds = (['neurons', 'kv-groups'] as const).filter((kind) => loses(reduction, kind));
  if (kinds.length === 0) return { model, interventions: [] };
  const { scores, interventions } = await rankUnits(model, kinds, score, context);
  const chosen = new Map<string, Uint32Array>();
  for (const { path, axes } of model.architecture.blocks.map((block) => ({
    path: block.path,
    axes: kinds.flatMap((kind) => unitAxes(block, kind)),
  }))) {
    for (const axis of axes) {
      const { kind, reader } = axis;
      const own = scores.get(reader.name)!;
      const { kept, total } = countOf(reduction, axis);
      const units = highestScores(
        own,
        kept,
        `${RECORD_KEY[kind]} of ${reader.expert === null && !reader.shared ? path : reader.path}`,
      );
      chosen.set(reader.name, units);
      // The linear that reads the units, by the name that it has in the result.
      records[reader.name] = {
        unit: RECORD_KEY[kind],
        score,
        kept: units.length,
        removed: removedRanges(units, total),
        lostShare: lostShare(own, units),
      };
    }
  }
  return { model: keepUnits(model, chosen), interventions };
}

/** The indices that are not kept, as text: `0-3,7`. */
function removedRanges(kept: Uint32Array, total: number): string {
  const stays = new Set(kept);
  const runs: string[] = [];
  for (let start = 0; start < total; start++) {
    if (stays.has(start)) continue;
    let end = start;
    while (end + 1 < total && !stays.has(end + 1)) end += 1;
    runs.push(start === end ? `${start}` : `${start}-${end}`);
    start = end;
  }
  return runs.join(',');
}

/** Part of the sum of all scores that went. */
function lostShare(scores: Float64Array, kept: Uint32Array): number {
  const total = scores.reduce((sum, score) => sum + score, 0);
  const stays = kept.reduce((sum, index) => sum + scores[index]!, 0);
  return total === 0 ? 0 : 1 - stays / total;
}

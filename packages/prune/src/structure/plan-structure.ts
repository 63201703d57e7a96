// What structured pruning will do, from headers alone: names, shapes and bytes are exact, whichever units are chosen.
import { configOfLayers, withoutNextTokens } from '@pith/model';
import type {
  Architecture,
  PlannedModel,
  PlannedWeight,
  TechniquePlan,
  TechniqueProblem,
  WeightChange,
} from '@pith/model';
import { isSliceable, type Kept } from './gathered-weight.ts';
import { expertSets, movedExperts, routerSlices, type KeptExperts } from './expert-units.ts';
import { countOf, reductionOf, type Reduction } from './reduction.ts';
import {
  configChanges,
  configOfExperts,
  configOfUnits,
  keptSlices,
  movedNames,
  type KeptUnits,
} from './restructured-model.ts';
import { unitAxes } from './slice-groups.ts';
import type { StructureConfig } from './structure-config.ts';

/** See `ModelTransform.plan`. */
export function planStructure({ architecture, weights }: PlannedModel, config: StructureConfig): TechniquePlan {
  const problems: TechniqueProblem[] = [];
  const reduction = reductionOf(architecture, config, problems);
  if (problems.length > 0) return { changes: [], problems, notices: [] };
  const { blocks } = architecture;
  const kept = plannedLayers(blocks.length, reduction);
  const paths = blocks.map(({ path }) => path);
  const guessing = new Set(weights.keys());
  for (const name of withoutNextTokens({ architecture, weights })) guessing.delete(name);
  const moved = movedNames(
    [...weights.keys()].filter((name) => !guessing.has(name)),
    paths,
    kept,
  );
  const experts = firstExperts(architecture, reduction);
  const gone = movedExperts(architecture, experts);
  const slices = new Map([
    ...keptSlices({ architecture }, firstUnits(architecture, reduction)),
    ...routerSlices(architecture, experts),
  ]);
  const changes: WeightChange[] = [];
  for (const [name, weight] of weights) {
    // The first experts stand for those that stay: no other name.
    const lost = gone.get(name) === null;
    const to = lost ? undefined : moved.get(name);
    const slice = to === undefined ? undefined : slices.get(name);
    if (slice && !isSliceable(weight)) problems.push(notSliceable(weight));
    else if (to === undefined || slice !== undefined || to !== name) {
      const change = guessing.has(name)
        ? guessRemoved(name)
        : lost && moved.has(name)
          ? lostExpert(name)
          : changeOf(weight, to, slice, reduction);
      changes.push(change);
    }
  }
  if (problems.length > 0) return { changes: [], problems, notices: [] };
  const before = architecture.config;
  const after = configOfUnits(configOfExperts(configOfLayers(before, kept), reduction.experts.kept), {
    neurons: reduction.neurons.total === 0 ? before.intermediateSize : reduction.neurons.kept,
    expertNeurons: reduction.expertNeurons.kept,
    kvGroups: reduction.kvGroups.kept,
  });
  return {
    changes,
    problems,
    notices: [
      ...noticesOf(reduction, architecture.config.modelType),
      ...(guessing.size === 0
        ? []
        : [
            `${guessing.size} tensors of ${architecture.nextTokenPaths.join(', ')} are left out: ${GUESSES}, made for the model as it was`,
          ]),
    ],
    config: configChanges(before, after),
  };
}

/** The layers that stay; where the choice is open, the first ones stand for them: all blocks have the same shapes. */
function plannedLayers(total: number, { layers, namedLayers }: Reduction): number[] {
  const all = Array.from({ length: total }, (_, index) => index);
  return namedLayers === null ? all.slice(0, layers.kept) : all.filter((index) => !namedLayers.includes(index));
}

/** As many experts as stay, for shapes. */
function firstExperts(architecture: Architecture, { experts: { total, kept } }: Reduction): KeptExperts {
  if (kept === total) return new Map();
  const first = Uint32Array.from({ length: kept }, (_, index) => index);
  return new Map(expertSets(architecture).map(({ router }) => [router.name, first]));
}

function lostExpert(name: string): WeightChange {
  const reason = 'its expert goes (which experts go is chosen by their scores; the last ones stand for them here)';
  return { name, action: 'remove', reason, after: null };
}

/** As many units as stay, for shapes. */
function firstUnits({ blocks }: Architecture, reduction: Reduction): KeptUnits {
  const axes = blocks.flatMap((block) => [...unitAxes(block, 'neurons'), ...unitAxes(block, 'kv-groups')]);
  return new Map(
    axes.flatMap((axis) => {
      const { total, kept } = countOf(reduction, axis);
      const units = Uint32Array.from({ length: kept }, (_, index) => index);
      return kept === total ? [] : [[axis.reader.name, units] as const];
    }),
  );
}

const GUESSES = 'blocks that guess the tokens after the next';

function guessRemoved(name: string): WeightChange {
  return { name, action: 'remove', reason: `${GUESSES} do not outlive the change`, after: null };
}

function changeOf(weight: PlannedWeight, to: string | undefined, slice: Kept | undefined, of: Reduction): WeightChange {
  const { name } = weight;
  const open = of.namedLayers === null && of.layers.kept < of.layers.total;
  const standIn = open ? ' (which layers go is chosen by calibration; the last ones stand for them here)' : '';
  if (to === undefined) return { name, action: 'remove', reason: `its layer goes${standIn}`, after: null };
  const moves = to === name ? '' : 'layers before it go, it moves up';
  if (slice === undefined) return { name, action: 'rename', reason: moves, after: { ...weight, name: to } };
  const parts = [
    ...(slice.rows ? [`${slice.rows.length} of ${weight.shape[0]} rows stay`] : []),
    ...(slice.columns ? [`${slice.columns.length} of ${weight.shape[1]} columns stay`] : []),
  ];
  const reason = [...parts, ...(moves === '' ? [] : [moves])].join('; ');
  return { name, action: 'slice', reason, after: { ...slicedWeight(weight, slice), name: to } };
}

function slicedWeight(weight: PlannedWeight, { rows, columns }: Kept): PlannedWeight {
  const [rowCount, columnCount = 1] = weight.shape as [number, number?];
  const [keptRows, keptColumns] = [rows?.length ?? rowCount, columns?.length ?? columnCount];
  const shape = weight.shape.length === 1 ? [keptRows] : [keptRows, keptColumns];
  const { rank } = weight;
  const values = (r: number, c: number) => (rank === undefined ? r * c : rank * (r + c));
  const each = weight.byteLength / values(rowCount, columnCount);
  return { ...weight, shape, byteLength: each * values(keptRows, keptColumns) };
}

function notSliceable({ name, kind }: PlannedWeight): TechniqueProblem {
  const message = `${name} must be dense or factored to lose rows or columns, got ${kind}; prune before it is stored so`;
  return { code: 'WEIGHT_NOT_SLICEABLE', name, message };
}

function noticesOf({ layers, neurons, expertNeurons, kvGroups, experts }: Reduction, modelType: string): string[] {
  const of = ({ total, kept }: Reduction['neurons']) => `${total - kept} of ${total}`;
  return [
    ...(layers.kept < layers.total ? [`${of(layers)} layers go`] : []),
    ...(experts.kept < experts.total ? [`${of(experts)} experts of each layer go, with their rows of the router`] : []),
    ...(neurons.kept < neurons.total ? [`${of(neurons)} neurons of each layer go`] : []),
    ...(expertNeurons.kept < expertNeurons.total ? [`${of(expertNeurons)} neurons of each expert go`] : []),
    ...(kvGroups.kept < kvGroups.total
      ? [`${of(kvGroups)} key-value heads of each layer go, with their query heads`]
      : []),
    ...(kvGroups.kept < kvGroups.total && HEAD_DIM_UNDECLARED.includes(modelType)
      ? [
          `config.json gets head_dim, which transformers reads for ${modelType} although its config class does not declare it; check other runtimes`,
        ]
      : []),
  ];
}

/** Architectures whose config class in transformers has no field head_dim; their attention reads it where it is given. */
const HEAD_DIM_UNDECLARED: readonly string[] = ['qwen2', 'phi3', 'olmo2', 'granite', 'smollm3', 'cohere'];

// Whole experts as units: the tensors that make one up, and what stands for it in the router. Like layers they go as a whole,
// and those behind them move up; like neurons each layer loses as many, because config.json has one number for all.
import type { Architecture, BlockSpec, LinearSpec } from '@pith/model';
import type { Kept } from './gathered-weight.ts';
import type { SliceGroup } from './slice-groups.ts';

/** The experts of a block. */
export interface ExpertSet {
  /** The block. */
  readonly block: BlockSpec;
  /** Its linear that gives each expert a score: row e is that of expert e. */
  readonly router: LinearSpec;
  /** Tensors with a row or a value for each expert: the router's weight, and what is added to its scores. */
  readonly scoring: readonly string[];
  /** The linears of each expert, in the order of the table, which is the same for all. */
  readonly experts: readonly (readonly LinearSpec[])[];
}

/** Experts that stay, ascending indices, by the checkpoint name of the router; where there is none all stay. */
export type KeptExperts = ReadonlyMap<string, Uint32Array>;

/** The experts of a block; null where it has none. */
export function expertSet(block: BlockSpec): ExpertSet | null {
  const router = block.linears.find(({ role }) => role === 'router');
  if (router === undefined) return null;
  const experts = Array.from({ length: router.outFeatures }, (_, expert) =>
    block.linears.filter((linear) => linear.expert === expert),
  );
  const added = block.parameters.filter(({ role }) => role === 'choice-bias').map(({ name }) => name);
  return { block, router, scoring: [...tensorsOf(router), ...added], experts };
}

/** The blocks of a model that have experts. */
export function expertSets({ blocks }: Architecture): ExpertSet[] {
  return blocks.map(expertSet).filter((set) => set !== null);
}

/** The slices of each expert of a block: all of its tensors, and its row of the router. */
export function expertGroups({ block, scoring, experts }: ExpertSet): SliceGroup[] {
  return experts.map((linears, index) => ({
    kind: 'experts',
    block: block.index,
    index,
    slices: [
      ...linears.flatMap(({ outFeatures, ...linear }) =>
        tensorsOf(linear).map((name) => ({ name, axis: 'rows' as const, start: 0, length: outFeatures })),
      ),
      ...scoring.map((name) => ({ name, axis: 'rows' as const, start: index, length: 1 })),
    ],
  }));
}

/** New checkpoint names by old ones of the tensors of experts: null for one that goes. Other tensors are left out. */
export function movedExperts(architecture: Architecture, kept: KeptExperts): Map<string, string | null> {
  const moved = new Map<string, string | null>();
  for (const { router, experts } of expertSets(architecture)) {
    const stay = kept.get(router.name);
    if (stay === undefined) continue;
    const positions = new Map([...stay].map((expert, position) => [expert, position]));
    for (const [expert, linears] of experts.entries()) {
      const position = positions.get(expert);
      for (const [at, linear] of linears.entries()) {
        const names = position === undefined ? [] : tensorsOf(experts[position]![at]!);
        tensorsOf(linear).forEach((name, which) => moved.set(name, names[which] ?? null));
      }
    }
  }
  return moved;
}

/** The rows of each router, and of what is added to its scores, that stay, by checkpoint name. */
export function routerSlices(architecture: Architecture, kept: KeptExperts): Map<string, Kept> {
  return new Map(
    expertSets(architecture).flatMap(({ router, scoring }) => {
      const rows = kept.get(router.name);
      return rows === undefined ? [] : scoring.map((name) => [name, { rows }] as const);
    }),
  );
}

function tensorsOf({ name, biasName }: Pick<LinearSpec, 'name' | 'biasName'>): string[] {
  return biasName === null ? [name] : [name, biasName];
}

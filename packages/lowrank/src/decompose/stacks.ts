// Which matrices make up one tensor.
import type { LinearSpec } from '@pith/model';
import type { DecomposeConfig } from './decompose-config.ts';
import { largestUsefulRank, rankByRatio } from '../factors/rank.ts';
import type { TuckerRanks } from '../tucker/tucker.ts';

/** Matrices that are decomposed together. */
export interface Stack {
  /** Names it: `query` in all layers, or the path of a module. */
  readonly name: string;
  /** In the order of layers; one for a stack of heads. */
  readonly linears: readonly LinearSpec[];
  /** Layers or heads, rows and columns of each slice. */
  readonly shape: readonly [number, number, number];
  /** True where heads lie along the columns: slices are those of the transposed matrix. */
  readonly transposed: boolean;
}

/** Stacks of the selected linears, and those that have no place in one, with why. */
export function stacksOf(linears: readonly LinearSpec[], stack: DecomposeConfig['stack']) {
  const stacks: Stack[] = [];
  const alone: { linear: LinearSpec; reason: string }[] = [];
  if (stack === 'heads') {
    for (const linear of linears) {
      const { heads, outFeatures, inFeatures, path } = linear;
      if (heads === null || heads.count < 2) {
        alone.push({ linear, reason: heads === null ? 'it has no heads' : 'it has one head' });
        continue;
      }
      const transposed = heads.axis === 'columns';
      const shape = [heads.count, heads.dim, transposed ? outFeatures : inFeatures] as const;
      stacks.push({ name: path, linears: [linear], shape, transposed });
    }
    return { stacks, alone };
  }
  const alike = new Map<string, LinearSpec[]>();
  for (const linear of linears) {
    const key = `${linear.role} [${linear.outFeatures}, ${linear.inFeatures}]`;
    alike.set(key, [...(alike.get(key) ?? []), linear]);
  }
  for (const [name, members] of alike) {
    const [{ outFeatures, inFeatures }] = members;
    if (members.length < 2) alone.push({ linear: members[0], reason: 'no other layer has one of its role and shape' });
    else stacks.push({ name, linears: members, shape: [members.length, outFeatures, inFeatures], transposed: false });
  }
  return { stacks, alone };
}

/** What a stack becomes. */
export interface StackIntent {
  /** With `tucker`. */
  readonly ranks?: TuckerRanks;
  /** Rank that each matrix is stored with, if factors are smaller. */
  readonly rank: number;
  /** Whether two factors are smaller than the matrix. */
  readonly factored: boolean;
  /** In words. */
  readonly text: string;
}

/** What the configuration asks of a stack. */
export function stackIntent(stack: Stack, config: DecomposeConfig): StackIntent {
  const [{ outFeatures: rows, inFeatures: columns }] = stack.linears;
  const useful = largestUsefulRank(rows, columns);
  const intent = (rank: number, text: string, ranks?: TuckerRanks): StackIntent => {
    const factored = rank <= useful;
    return { rank, factored, text, ...(ranks && { ranks }) };
  };
  if (config.method === 'cp') {
    const rank = config.rank ?? rankByRatio(rows, columns, config.ratio!);
    return intent(rank, `CP with ${rank} terms`);
  }
  const ranks = config.ranks ?? ranksByRatio(stack, rankByRatio(rows, columns, config.ratio!));
  const shared = config.stack === 'heads' ? ranks[2] : Math.min(ranks[1], ranks[2]);
  return intent(shared, `Tucker with ranks ${ranks.join(', ')}`, ranks);
}

/**
 * Ranks that take as much room as a rank of each matrix: what is stored of a matrix depends on its shorter side of the core
 * alone, so all other axes are kept whole. Heads share their inputs, layers the side that has fewer features.
 */
function ranksByRatio({ shape, linears }: Stack, rank: number): TuckerRanks {
  const [count, rows, columns] = shape;
  if (linears.length === 1 || columns <= rows) return [count, rows, Math.min(rank, columns)];
  return [count, Math.min(rank, rows), columns];
}

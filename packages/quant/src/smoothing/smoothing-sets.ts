// Which linears must share input scales, and where the scales go: x W^T = (x / s) (W s)^T, with 1/s folded into what makes
// x: the norm before, or the rows of the linear before.
//
// Read from the architecture's table: all readers of a norm share its scales; a linear that feeds another through heads of
// grouped queries has one scale for each of its rows, shared by the columns that the row feeds.
import { partRows, type BlockSpec, type Feed, type LinearSpec, type NormSpec } from '@pith/model';

/** The scales of a norm's output are divided out of its weight. */
export interface NormFold {
  /** Tells the union apart. */
  readonly kind: 'norm';
  readonly norm: NormSpec;
  /** Independent scales. */
  readonly scales: number;
}

/** The scales are divided out of rows (and of the bias) of the linear before. */
export interface LinearFold {
  /** Tells the union apart. */
  readonly kind: 'linear';
  readonly linear: LinearSpec;
  readonly feed: Feed;
  /** Rows of the linear that feed, one for each scale. */
  readonly rows: Int32Array;
  /** Independent scales. */
  readonly scales: number;
}

/** Nothing takes the scales up. */
export interface NoFold {
  /** Tells the union apart. */
  readonly kind: 'none';
  /** In words, for people. */
  readonly reason: string;
}

/** Linears that read the same features, and what can take up scales of these. */
export interface SmoothingSet {
  /** Input groups of the linears. */
  readonly groups: readonly string[];
  /** All readers, in the order of the table. */
  readonly linears: readonly LinearSpec[];
  readonly inFeatures: number;
  readonly fold: NormFold | LinearFold | NoFold;
}

/** The sets of a block, in the order of the table: each linear is in exactly one. */
export function smoothingSets(block: Pick<BlockSpec, 'linears' | 'norms'>): SmoothingSet[] {
  const sets: SmoothingSet[] = [];
  const seen = new Set<string>();
  for (const linear of block.linears) {
    if (seen.has(linear.inputGroup)) continue;
    const fold = foldOf(block, linear);
    const groups = fold.kind === 'norm' ? fold.norm.inputGroups : [linear.inputGroup];
    for (const group of groups) seen.add(group);
    const linears = block.linears.filter(({ inputGroup }) => groups.includes(inputGroup));
    sets.push({ groups, linears, inFeatures: linear.inFeatures, fold });
  }
  return sets;
}

function foldOf(block: Pick<BlockSpec, 'linears' | 'norms'>, reader: LinearSpec): NormFold | LinearFold | NoFold {
  const none = (reason: string): NoFold => ({ kind: 'none', reason });
  if (reader.normBefore !== null) {
    const norm = block.norms.find(({ name }) => name === reader.normBefore);
    if (norm === undefined) return none(`the norm before ${reader.path} lies outside its block`);
    return { kind: 'norm', norm, scales: norm.features };
  }
  const feed = reader.fedBy.find(({ scales }) => scales);
  if (feed === undefined) return none('no norm and no linear stands before it that could take up scales');
  const linear = block.linears.find(({ path }) => path === feed.path);
  if (linear === undefined) return none(`${feed.path}, which feeds it, lies outside its block`);
  const others = block.linears.filter(
    ({ inputGroup, fedBy }) => inputGroup !== reader.inputGroup && fedBy.some(({ path }) => path === feed.path),
  );
  if (others.length > 0) return none(`${feed.path} feeds ${others[0]!.path} as well`);
  const rows = partRows(linear, feed.part);
  return { kind: 'linear', linear, feed, rows, scales: rows.length };
}

/** The scale that each input column takes, counted as `scales` of the fold. */
export function scaleOfColumn({ inFeatures, fold }: SmoothingSet): Int32Array {
  if (fold.kind !== 'linear') return Int32Array.from({ length: inFeatures }, (_, column) => column);
  const { headDim, repeat } = fold.feed;
  return Int32Array.from({ length: inFeatures }, (_, column) => {
    const head = Math.floor(column / headDim);
    return Math.floor(head / repeat) * headDim + (column % headDim);
  });
}

/** One value for each scale from one for each column, by what `combine` makes of two; the same for every column that shares. */
export function shareColumns(
  set: SmoothingSet,
  columns: ArrayLike<number>,
  combine: (a: number, b: number) => number,
): Float64Array {
  const index = scaleOfColumn(set);
  const count = set.fold.kind === 'none' ? set.inFeatures : set.fold.scales;
  const shared = new Float64Array(count);
  const known = new Uint8Array(count);
  index.forEach((scale, column) => {
    shared[scale] = known[scale] ? combine(shared[scale]!, columns[column]!) : columns[column]!;
    known[scale] = 1;
  });
  return shared;
}

/** The values of the columns from those of the scales. */
export function spreadScales(set: SmoothingSet, scales: ArrayLike<number>): Float64Array {
  return Float64Array.from(scaleOfColumn(set), (index) => scales[index]!);
}

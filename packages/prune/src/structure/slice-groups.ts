// Which slices of which tensors go together: the one place that says it, from the architecture table alone. Everything
// else here (scores, sliced weights, masks, plans) works on these groups and knows no names.
//
// A unit is what can be taken out of a block without touching the width of the hidden states:
// - `layers`: the whole block. What it adds to the hidden states is gone, the stream goes past it.
// - `neurons`: one channel between the linears of the feed-forward part: a column of the linear that is fed, and the row
//   (and the element of the bias) of each linear that feeds it.
// - `kv-groups`: one key-value head with the query heads that read it: its rows of key and value, the rows of those query
//   heads, their biases, and the columns of the projection after attention that the query heads fill.
// - `experts`: all tensors of one expert, and its row of the router (see `expert-units.ts`).
import type { Architecture, BlockSpec, LinearSpec } from '@pith/model';
import { blockTensors, partRows } from '@pith/model';
import { expertGroups, expertSet } from './expert-units.ts';

/** What is taken out as one: see the head of the file. */
export type UnitKind = 'layers' | 'neurons' | 'kv-groups' | 'experts';

/** A run of rows or columns of one tensor. A bias or a norm has rows only. */
export interface Slice {
  /** Checkpoint name. */
  readonly name: string;
  /** `rows`: axis 0. `columns`: axis 1. */
  readonly axis: 'rows' | 'columns';
  /** First row or column. */
  readonly start: number;
  /** How many. */
  readonly length: number;
}

/** Slices that are removed together or not at all. */
export interface SliceGroup {
  /** What it is. */
  readonly kind: UnitKind;
  /** Index of the block. */
  readonly block: number;
  /** Counted from 0 within the block; 0 for a layer. */
  readonly index: number;
  /** In the order of the table. */
  readonly slices: readonly Slice[];
}

/** Rows of a linear that belong to units. */
export interface Feeder {
  /** The linear. */
  readonly linear: LinearSpec;
  /** Rows of each unit. */
  readonly rows: number;
  /** Rows of the linear, those of the first unit first: all of them unless it is fused. */
  readonly order: Int32Array;
}

/** The units of one kind in one block: where the linear is that reads them, and what feeds it. */
export interface UnitAxis {
  /** What the units are. */
  readonly kind: 'neurons' | 'kv-groups';
  /** How many there are. */
  readonly count: number;
  /** The linear whose input is made of the units. */
  readonly reader: LinearSpec;
  /** Its columns for each unit. */
  readonly readerColumns: number;
  /** Linears whose rows belong to the units, in the order of the table; a fused one as often as it has parts that do. */
  readonly feeders: readonly Feeder[];
}

/**
 * All groups of a kind, block by block; the groups of a block do not overlap, and those of a kind other than `layers` leave
 * norms, and biases added to the hidden states, alone.
 */
export function sliceGroups(architecture: Architecture, kind: UnitKind): SliceGroup[] {
  return architecture.blocks.flatMap((block) => {
    if (kind === 'layers') return [layerGroup(block)];
    if (kind === 'experts') {
      const set = expertSet(block);
      return set === null ? [] : expertGroups(set);
    }
    return unitAxes(block, kind).flatMap((axis) =>
      Array.from({ length: axis.count }, (_, index) => ({
        kind,
        block: block.index,
        index,
        slices: slicesOf(axis, index),
      })),
    );
  });
}

/** Whether a linear belongs to no expert, neither to one that is chosen nor to those that every token goes through. */
export const isDense = ({ expert, shared }: LinearSpec): boolean => expert === null && !shared;

/** The units of a kind in a block; empty where it has none. */
export function unitAxes(block: BlockSpec, kind: UnitAxis['kind']): UnitAxis[] {
  return block.linears.flatMap((reader): UnitAxis[] => {
    // Attention splits its input into heads, the feed-forward part does not.
    if (reader.fedBy.length === 0 || (reader.heads !== null) !== (kind === 'kv-groups')) return [];
    return [kind === 'kv-groups' ? headAxis(block, reader) : neuronAxis(block, reader)];
  });
}

/** The slices of one unit. */
export function slicesOf({ reader, readerColumns, feeders }: UnitAxis, index: number): Slice[] {
  const slices = feeders.flatMap(({ linear, rows, order }): Slice[] =>
    runsOf(order.subarray(index * rows, (index + 1) * rows)).flatMap(([start, length]) => {
      const run = { axis: 'rows', start, length } as const;
      return [linear.name, linear.biasName].flatMap((name) => (name === null ? [] : [{ name, ...run }]));
    }),
  );
  return [...slices, { name: reader.name, axis: 'columns', start: index * readerColumns, length: readerColumns }];
}

function layerGroup(block: BlockSpec): SliceGroup {
  const slices = blockTensors(block).map(({ name, shape }): Slice => ({
    name,
    axis: 'rows',
    start: 0,
    length: shape[0]!,
  }));
  return { kind: 'layers', block: block.index, index: 0, slices };
}

function neuronAxis(block: BlockSpec, reader: LinearSpec): UnitAxis {
  const feeders = block.linears.flatMap((linear): Feeder[] => {
    const feeds = reader.fedBy.filter(({ path }) => path === linear.path);
    return feeds.map(({ part }) => ({ linear, rows: 1, order: partRows(linear, part) }));
  });
  return { kind: 'neurons', count: reader.inFeatures, reader, readerColumns: 1, feeders };
}

/** Heads of the linear that feeds the reader (the values), each with the heads of its neighbours that stand by it. */
function headAxis(block: BlockSpec, reader: LinearSpec): UnitAxis {
  const { path, part, headDim, repeat } = reader.fedBy[0]!;
  const values = block.linears.find((linear) => linear.path === path)!;
  const count = partRows(values, part).length / headDim;
  // Keys have as many heads as values, queries a multiple: consecutive ones read the same key-value head.
  const feeders = block.linears
    .filter(({ heads, parts }) => heads?.axis === 'rows' || hasHeads(parts))
    .flatMap((linear): Feeder[] => {
      const roles = linear.parts.length === 0 ? [null] : linear.parts.map(({ role }) => role);
      return roles.map((role) => {
        const order = partRows(linear, role);
        return { linear, rows: order.length / count, order };
      });
    });
  return { kind: 'kv-groups', count, reader, readerColumns: headDim * repeat, feeders };
}

const hasHeads = (parts: LinearSpec['parts']) => parts.some(({ heads }) => heads !== null);

/** Runs of neighbours in ascending indices: first and length of each. */
function runsOf(indices: Int32Array): [number, number][] {
  const runs: [number, number][] = [];
  for (const index of indices) {
    const last = runs.at(-1);
    if (last && last[0] + last[1] === index) last[1] += 1;
    else runs.push([index, 1]);
  }
  return runs;
}

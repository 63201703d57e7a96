// The grids that IQ1, IQ2 and IQ3 pick their vectors from, made ready for a search: a point of rounded digits is on the grid, or the
// vectors nearest to it are tried in a fixed order. Which ones those are decides ggml's bytes (ggml/src/ggml-quants.c,
// `iq2xs_init_impl`, `iq3xs_init_impl`): all at the one, two or three least distances, by distance and then by index.
import { GGML_TYPES } from '@pith/checkpoint';
import { compileKernels, createKernelMemory, instantiateKernels } from '@pith/tensor-core';

/** A type whose blocks hold vectors of a grid. */
export type GridType = 'iq3_s' | 'iq3_xxs' | 'iq2_s' | 'iq2_xs' | 'iq2_xxs' | 'iq1_s' | 'iq1_m';

/** A grid and what lies around it. Points and vectors are words of digits, the first in the lowest bits. */
export interface GridTable {
  /** Values of a vector: 4 for IQ3, 8 otherwise. */
  readonly length: 4 | 8;
  /** Bits of a digit: 3 for IQ3, 2 otherwise. */
  readonly bits: 3 | 2;
  /** Largest digit: 7 for IQ3, 2 otherwise. */
  readonly highest: 7 | 2;
  /** Vectors by index. */
  readonly words: Uint16Array;
  /** The index of a vector; -1 for a point beside the grid. */
  readonly indexOf: (word: number) => number;
  /** Indices of the vectors to try for a point beside the grid. */
  readonly nearest: (word: number) => Uint16Array;
}

interface GridFacts {
  readonly type: GridType;
  readonly count: number;
  /** How many distances a point's vectors may have. */
  readonly distances: number;
}

// IQ1_S and IQ1_M share one.
const IQ1: GridFacts = { type: 'iq1_s', count: 2048, distances: 3 };
const FACTS: Readonly<Record<GridType, GridFacts>> = {
  iq3_s: { type: 'iq3_s', count: 512, distances: 3 },
  iq3_xxs: { type: 'iq3_xxs', count: 256, distances: 2 },
  iq2_s: { type: 'iq2_s', count: 1024, distances: 1 },
  iq2_xs: { type: 'iq2_xs', count: 512, distances: 2 },
  iq2_xxs: { type: 'iq2_xxs', count: 256, distances: 2 },
  iq1_s: IQ1,
  iq1_m: IQ1,
};

/** True for types whose blocks hold vectors of a grid. */
export function isGridType(type: string): type is GridType {
  return type in FACTS;
}

/** The digits of a word. */
export function digitsOf({ length, bits }: Pick<GridTable, 'length' | 'bits'>, word: number): number[] {
  return Array.from({ length }, (_, i) => (word >> (bits * i)) & ((1 << bits) - 1));
}

/** The word of digits. */
export function wordOf({ bits }: Pick<GridTable, 'bits'>, digits: readonly number[]): number {
  return digits.reduce((word, digit, i) => word | (digit << (bits * i)), 0);
}

const tables = new Map<GridType, GridTable>();

/** The table of a type, made when first asked for. */
export function gridTable(type: GridType): GridTable {
  const facts = FACTS[type];
  const table = tables.get(facts.type) ?? makeTable(facts);
  tables.set(facts.type, table);
  return table;
}

/** The type by which tables are shared. */
export function gridOwner(type: GridType): GridType {
  return FACTS[type].type;
}

function makeTable({ type, count, distances }: GridFacts): GridTable {
  const three = type === 'iq3_s' || type === 'iq3_xxs';
  const kernels = instantiateKernels(compileKernels(false), createKernelMemory(false, 2 ** 20));
  const words = Uint16Array.from({ length: count }, (_, index) => kernels.ggmlGridWord(GGML_TYPES[type].id, index));
  const indices = new Map(Array.from(words, (word, index) => [word, index]));
  const shape = three ? ({ length: 4, bits: 3, highest: 7 } as const) : ({ length: 8, bits: 2, highest: 2 } as const);
  const halves = halfDistances(shape);
  const half = (shape.length * shape.bits) / 2;
  const mask = (1 << half) - 1;
  const apart = new Uint16Array(count);
  const nearest = (word: number): Uint16Array => {
    const [low, high] = [(word & mask) << half, (word >> half) << half];
    const seen = new Uint16Array(shape.length * shape.highest ** 2 + 1);
    for (let index = 0; index < count; index++) {
      const vector = words[index]!;
      const distance = halves[low | (vector & mask)]! + halves[high | (vector >> half)]!;
      apart[index] = distance;
      seen[distance]! += 1;
    }
    // Where in the list the vectors of each distance begin.
    let end = 0;
    let found = 0;
    const starts = new Int32Array(seen.length).fill(-1);
    for (let distance = 0; found < distances && distance < seen.length; distance++) {
      if (seen[distance] === 0) continue;
      starts[distance] = end;
      end += seen[distance]!;
      found += 1;
    }
    const list = new Uint16Array(end);
    for (let index = 0; index < count; index++) {
      const distance = apart[index]!;
      if (starts[distance]! >= 0) list[starts[distance]!++] = index;
    }
    return list;
  };
  return { ...shape, words, indexOf: (word) => indices.get(word) ?? -1, nearest: remembered(nearest) };
}

/** Squared distances of half words, by both: all that a sum over two halves needs. */
function halfDistances({ length, bits }: { readonly length: number; readonly bits: number }): Uint8Array {
  const size = 1 << ((length * bits) / 2);
  const half = { length: (length / 2) as 4, bits: bits as 2 };
  const digits = Array.from({ length: size }, (_, word) => digitsOf(half, word));
  return Uint8Array.from({ length: size * size }, (_, both) => {
    const [a, b] = [digits[Math.floor(both / size)]!, digits[both % size]!];
    return a.reduce((sum, digit, i) => sum + (digit - b[i]!) ** 2, 0);
  });
}

function remembered(nearest: (word: number) => Uint16Array): (word: number) => Uint16Array {
  const known = new Map<number, Uint16Array>();
  return (word) => {
    const list = known.get(word) ?? nearest(word);
    known.set(word, list);
    return list;
  };
}

// What an error of one output row of a linear counts for in what its module adds to the hidden states, estimated from
// weights and Gram matrices alone. Scales of an input are shared by linears whose outputs differ in size by orders of
// magnitude: without this the queries and keys would decide alone.
//
// - An output projection (its rows are the module's output): 1.
// - A row that feeds column c of another linear W (values, the two parts of a gated feed-forward): its relative error becomes
//   the relative error of the feature, so the feature's energy in the output, |W_c|² G_cc, over the energy of the row.
// - Queries and keys: a logit is the sum over a head of q_i k_i / sqrt(d), rotations mix i with i + d/2. A variance of s² of
//   the logits of a head changes its output by about s² of its energy (a shift of the attention moves the output among
//   values that are as far apart as the output is from zero, after averaging). The energy of the head over d, times the
//   energy of what the row is multiplied with.
import type { BlockSpec, LinearSpec } from '@pith/model';

/** Energies of a linear, summed over calibration tokens. */
export interface LinearEnergies {
  /** Squares of each output row: w G wᵀ, f64 [out features]. */
  readonly rows: Float64Array;
  /** Squares that each input column adds to the output by itself: |W_c|² G_cc, f64 [in features]. */
  readonly columns: Float64Array;
  readonly tokens: number;
}

/** Energies of the linears of a block by path; undefined where they are not known. */
export type EnergyLookup = (path: string) => LinearEnergies | undefined;

/** What the squared error of each row of a linear counts: f64 [out features]. All 1 where nothing better is known. */
export function rowImportance(
  block: Pick<BlockSpec, 'linears'>,
  linear: LinearSpec,
  energies: EnergyLookup,
): Float64Array {
  const own = energies(linear.path);
  const plain = new Float64Array(linear.outFeatures).fill(1);
  if (own === undefined) return plain;
  if (linear.role === 'query' || linear.role === 'key') return logitImportance(block, linear, energies) ?? plain;
  const features = fedEnergy(block, linear, energies);
  return features ? features.map((energy, row) => (own.rows[row]! > 0 ? energy / own.rows[row]! : 0)) : plain;
}

/** The energy in the output of the features that a linear's rows feed; undefined where it feeds none. */
function fedEnergy({ linears }: Pick<BlockSpec, 'linears'>, linear: LinearSpec, energies: EnergyLookup) {
  const fed = new Float64Array(linear.outFeatures);
  let any = false;
  for (const reader of linears) {
    for (const { path, headDim, repeat } of reader.fedBy) {
      const known = energies(reader.path);
      if (path !== linear.path || known === undefined) continue;
      any = true;
      known.columns.forEach((energy, column) => {
        const row = Math.floor(Math.floor(column / headDim) / repeat) * headDim + (column % headDim);
        fed[row]! += energy;
      });
    }
  }
  return any ? fed : undefined;
}

function logitImportance(block: Pick<BlockSpec, 'linears'>, linear: LinearSpec, energies: EnergyLookup) {
  const other = block.linears.find(({ role }) => role === (linear.role === 'query' ? 'key' : 'query'));
  const output = block.linears.find(({ role }) => role === 'attention-output');
  const [others, outputs] = [other && energies(other.path), output && energies(output.path)];
  if (!others || !outputs || !linear.heads || !other?.heads || !output?.heads) return undefined;
  const { dim } = linear.heads;
  const headEnergy = Array.from({ length: output.heads.count }, (_, head) => sumOf(outputs.columns, head * dim, dim));
  const queryHeads = linear.role === 'query' ? linear.heads.count : other.heads.count;
  const keyHeads = linear.role === 'query' ? other.heads.count : linear.heads.count;
  const repeat = queryHeads / keyHeads;
  const result = new Float64Array(linear.outFeatures);
  for (let query = 0; query < queryHeads; query++) {
    const key = Math.floor(query / repeat);
    const [head, partner] = linear.role === 'query' ? [query, key] : [key, query];
    for (let i = 0; i < dim; i++) {
      const pair = (i + dim / 2) % dim;
      const energy = (others.rows[partner * dim + i]! + others.rows[partner * dim + pair]!) / 2 / others.tokens;
      result[head * dim + i]! += (energy / dim) * (headEnergy[query]! / outputs.tokens);
    }
  }
  return result;
}

function sumOf(values: Float64Array, start: number, count: number): number {
  let sum = 0;
  for (let i = start; i < start + count; i++) sum += values[i]!;
  return sum;
}

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
// - A row of a latent, behind a norm: what it adds to the linear that the norm feeds, times what an error of that linear's rows counts
//   on average. The rotated part of the keys, which lies behind the latent, counts as much as the latent does on average.
import { partRows, type BlockSpec, type HeadAxis, type LinearPart, type LinearSpec } from '@pith/model';

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
  block: Pick<BlockSpec, 'linears' | 'norms'>,
  linear: LinearSpec,
  energies: EnergyLookup,
): Float64Array {
  const own = energies(linear.path);
  const result = new Float64Array(linear.outFeatures).fill(1);
  if (own === undefined) return result;
  const roles = linear.parts.length === 0 ? [null] : linear.parts.map(({ role }) => role);
  for (const role of roles) {
    const rows = partRows(linear, role);
    const does = role ?? linear.role;
    if (does === 'query' || does === 'key') {
      logitImportance(block, does, energies)?.forEach((value, i) => (result[rows[i]!] = value));
      continue;
    }
    if (does === 'query-latent' || does === 'key-value-latent') {
      latentImportance(block, does, own, energies)?.forEach((value, i) => (result[rows[i]!] = value));
      continue;
    }
    const features = fedEnergy(block, linear, role, rows.length, energies);
    features?.forEach((energy, i) => {
      const row = rows[i]!;
      result[row] = own.rows[row]! > 0 ? energy / own.rows[row]! : 0;
    });
  }
  return result;
}

/** The energy in the output of the features that the rows of a linear, or of one part of it, feed; undefined where they feed none. */
function fedEnergy(
  { linears }: Pick<BlockSpec, 'linears'>,
  { path: own }: LinearSpec,
  role: LinearPart['role'] | null,
  rows: number,
  energies: EnergyLookup,
) {
  const fed = new Float64Array(rows);
  let any = false;
  for (const reader of linears) {
    for (const { path, part, headDim, repeat } of reader.fedBy) {
      const known = energies(reader.path);
      if (path !== own || part !== role || known === undefined) continue;
      any = true;
      known.columns.forEach((energy, column) => {
        const row = Math.floor(Math.floor(column / headDim) / repeat) * headDim + (column % headDim);
        fed[row]! += energy;
      });
    }
  }
  return any ? fed : undefined;
}

/** What an error of each row of a latent counts; undefined where what reads it is not known. */
function latentImportance(
  block: Pick<BlockSpec, 'linears' | 'norms'>,
  role: 'query-latent' | 'key-value-latent',
  { rows }: LinearEnergies,
  energies: EnergyLookup,
): Float64Array | undefined {
  const norm = block.norms.find((candidate) => candidate.role === role);
  const reader = norm && block.linears.find(({ normBefore }) => normBefore === norm.name);
  const known = reader && energies(reader.path);
  if (reader === undefined || known === undefined) return undefined;
  const importance = rowImportance(block, reader, energies);
  const energy = sumOf(known.rows, 0, known.rows.length);
  const mean = energy > 0 ? importance.reduce((sum, value, row) => sum + value * known.rows[row]!, 0) / energy : 0;
  const latent = known.columns.length;
  const fed = known.columns.map((column, i) => (rows[i]! > 0 ? (mean * column) / rows[i]! : 0));
  const average = sumOf(fed, 0, latent) / latent;
  return Float64Array.from(rows, (_, row) => fed[row] ?? average);
}

/** Heads of queries or keys, and the energies of their rows. */
interface HeadRows {
  readonly heads: HeadAxis;
  readonly rows: Float64Array;
  readonly tokens: number;
}

function headRows(
  { linears }: Pick<BlockSpec, 'linears'>,
  role: 'query' | 'key',
  energies: EnergyLookup,
): HeadRows | undefined {
  for (const linear of linears) {
    const part = linear.parts.find((candidate) => candidate.role === role);
    const heads = part?.heads ?? (linear.role === role ? linear.heads : null);
    const known = energies(linear.path);
    if (!heads || known === undefined) continue;
    const rows = Float64Array.from(partRows(linear, part ? role : null), (row) => known.rows[row]!);
    return { heads, rows, tokens: known.tokens };
  }
  return undefined;
}

function logitImportance(block: Pick<BlockSpec, 'linears'>, role: 'query' | 'key', energies: EnergyLookup) {
  const own = headRows(block, role, energies);
  const other = headRows(block, role === 'query' ? 'key' : 'query', energies);
  const output = block.linears.find(({ role: does }) => does === 'attention-output');
  const outputs = output && energies(output.path);
  if (!own || !other || !outputs || !output.heads) return undefined;
  const { dim } = own.heads;
  const { dim: valueDim, count } = output.heads;
  const headEnergy = Array.from({ length: count }, (_, head) => sumOf(outputs.columns, head * valueDim, valueDim));
  const [queryHeads, keyHeads] =
    role === 'query' ? [own.heads.count, other.heads.count] : [other.heads.count, own.heads.count];
  const repeat = queryHeads / keyHeads;
  const result = new Float64Array(own.rows.length);
  for (let query = 0; query < queryHeads; query++) {
    const key = Math.floor(query / repeat);
    const [head, partner] = role === 'query' ? [query, key] : [key, query];
    for (let i = 0; i < dim; i++) {
      const energy = partnerEnergy(other, partner, i, dim) / other.tokens;
      result[head * dim + i]! += (energy / dim) * (headEnergy[query]! / outputs.tokens);
    }
  }
  return result;
}

/**
 * Energy of what value i of a head is multiplied with: the mean of the two rows that rotations mix. Where the heads of the two have
 * different lengths (latent attention: keys without their rotated part) the first are multiplied as they are, of the others the
 * mean of the head stands for what is not known.
 */
function partnerEnergy({ rows, heads }: HeadRows, head: number, i: number, dim: number): number {
  const at = head * heads.dim;
  if (heads.dim === dim) return (rows[at + i]! + rows[at + ((i + dim / 2) % dim)]!) / 2;
  return i < heads.dim ? rows[at + i]! : sumOf(rows, at, heads.dim) / heads.dim;
}

function sumOf(values: Float64Array, start: number, count: number): number {
  let sum = 0;
  for (let i = start; i < start + count; i++) sum += values[i]!;
  return sum;
}

// The rope part of a config.json: what rotates, by how much, and how that is stretched for long texts.
import type { HfConfig, HfRope } from './hf-config.ts';
import type { RopeConfig, RopeScaling } from './model-config.ts';

/** What an architecture says of its rotary embedding. */
export interface RopeDefaults {
  /** Base where the file names none. */
  readonly theta: number;
  /** Share of a head that is rotated where the file names none; the architecture always rotates all of it when left out. */
  readonly partial?: number;
  /** Neighbours are rotated with one another; false when left out. */
  readonly interleaved?: boolean;
}

/** What a rope needs to know of the model. */
export interface RopeFacts {
  readonly headDim: number;
  readonly maxPositions: number;
}

type RopeEntry = Omit<HfRope, 'full_attention' | 'sliding_attention'>;

/** Checks the relations of a rope scaling. */
class ScalingReader {
  readonly #rope: RopeEntry;
  readonly #kind: string;
  readonly #problems: string[];

  constructor(rope: RopeEntry, kind: string, problems: string[]) {
    this.#rope = rope;
    this.#kind = kind;
    this.#problems = problems;
  }

  number(field: keyof RopeEntry): number {
    const value = this.#rope[field];
    if (typeof value === 'number') return value;
    this.#problems.push(`rope scaling ${this.#kind}: needs ${field}`);
    return 1;
  }

  factors(field: 'short_factor' | 'long_factor', pairs: number): readonly number[] {
    const values = this.#rope[field] ?? [];
    if (values.length === pairs) return Object.freeze([...values]);
    this.#problems.push(
      `rope scaling ${this.#kind}: ${field} must have one value for each of ${pairs} pairs, got ${values.length}`,
    );
    return Object.freeze(Array.from({ length: pairs }, () => 1));
  }
}

const yarnScale = (factor: number, scale = 1) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);

function readScaling(
  hf: HfConfig,
  rope: RopeEntry,
  dim: number,
  { maxPositions }: RopeFacts,
  problems: string[],
): RopeScaling {
  const given = rope.rope_type ?? rope.type ?? 'default';
  // Phi-3's first releases said `su`, and `yarn` where the same was meant.
  const phi3 = hf.model_type === 'phi3' && (given === 'su' || given === 'yarn');
  const kind = phi3 ? 'longrope' : given;
  const read = new ScalingReader(rope, kind, problems);
  const original = () => hf.original_max_position_embeddings ?? rope.original_max_position_embeddings ?? maxPositions;
  switch (kind) {
    case 'default':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: read.number('factor') };
    case 'dynamic':
      if (dim <= 2) problems.push(`rope scaling dynamic: needs more than 2 rotated values, got ${dim}`);
      return { kind: 'dynamic', factor: read.number('factor'), originalMaxPositions: maxPositions };
    case 'llama3': {
      const result = {
        kind: 'llama3' as const,
        factor: read.number('factor'),
        lowFrequencyFactor: read.number('low_freq_factor'),
        highFrequencyFactor: read.number('high_freq_factor'),
        originalMaxPositions: original(),
      };
      if (result.lowFrequencyFactor >= result.highFrequencyFactor && problems.length === 0) {
        problems.push('rope scaling llama3: low_freq_factor must be below high_freq_factor');
      }
      return result;
    }
    case 'yarn': {
      const factor = rope.factor ?? maxPositions / original();
      const { mscale, mscale_all_dim: whole } = rope;
      const inferred = mscale && whole ? yarnScale(factor, mscale) / yarnScale(factor, whole) : yarnScale(factor);
      return {
        kind: 'yarn',
        factor,
        betaFast: rope.beta_fast ?? 32,
        betaSlow: rope.beta_slow ?? 1,
        originalMaxPositions: original(),
        attentionFactor: rope.attention_factor ?? inferred,
        truncate: rope.truncate ?? true,
      };
    }
    case 'longrope': {
      const factor = rope.factor ?? maxPositions / original();
      const inferred = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original()));
      return {
        kind: 'longrope',
        shortFactors: read.factors('short_factor', dim / 2),
        longFactors: read.factors('long_factor', dim / 2),
        originalMaxPositions: original(),
        attentionFactor: rope.attention_factor ?? inferred,
      };
    }
    default:
      problems.push(
        `rope scaling must be default, linear, dynamic, llama3, yarn or longrope, got ${JSON.stringify(kind)}, not supported yet`,
      );
      return { kind: 'none' };
  }
}

/**
 * One rotary embedding of a model.
 *
 * @param rope The part of the file that speaks of it.
 * @param problems Receives what does not fit.
 */
export function readRope(
  hf: HfConfig,
  rope: RopeEntry,
  { theta, partial, interleaved = false }: RopeDefaults,
  facts: RopeFacts,
  problems: string[],
): RopeConfig {
  const share = rope.partial_rotary_factor ?? hf.partial_rotary_factor ?? partial ?? 1;
  if (partial === undefined && share !== 1) {
    problems.push(`partial_rotary_factor must be 1 for ${hf.model_type}, got ${share}`);
  }
  const dim = Math.trunc(facts.headDim * share);
  if (dim % 2 !== 0 || dim === 0) {
    problems.push(
      `head_dim must be even for rotary embedding, got ${facts.headDim}, of which ${dim} values are rotated`,
    );
  }
  return Object.freeze({
    theta: rope.rope_theta ?? hf.rope_theta ?? theta,
    dim,
    interleaved,
    scaling: Object.freeze(readScaling(hf, rope, dim, facts, problems)),
  });
}

/** The part of a file that speaks of the rope of all layers. */
export function ropeOf({ rope_parameters: parameters, rope_scaling: scaling }: HfConfig): RopeEntry {
  return (scaling && Object.keys(scaling).length > 0 ? scaling : parameters) ?? {};
}

// What an architecture is: a table (which tensors there are, which linear feeds which, which share an input, what norm
// stands before it, where the heads lie) and a program over tfjs-core tensors. The table is the only place where names
// of tensors are known: techniques read it and never match names by hand.
import type { Tensor } from '@tensorflow/tfjs-core';
import type { ModelConfig, RopeConfig } from '../config/model-config.ts';
import type { StorageRules } from './storage-rules.ts';

/**
 * What a linear layer does. `query-key-value`, `key-value` and `gate-up` are several in one stored matrix, see `LinearSpec.parts`;
 * `query-latent` and `key-value-latent` give the short vectors of latent attention; `router` gives each expert its score; `projection` stands outside of the blocks, before the first or after the last.
 */
export type LinearRole =
  | 'query'
  | 'key'
  | 'value'
  | 'query-key-value'
  | 'key-value'
  | 'query-latent'
  | 'key-value-latent'
  | 'attention-output'
  | 'gate'
  | 'up'
  | 'gate-up'
  | 'down'
  | 'router'
  | 'projection'
  | 'head';

/** Rows of a matrix in equal runs: `count` runs of `length` rows, one every `stride` rows from `start`. */
export interface RowRuns {
  /** First row. */
  readonly start: number;
  /** Rows of a run. */
  readonly length: number;
  /** Rows from the start of a run to that of the next. */
  readonly stride: number;
  /** Runs. */
  readonly count: number;
}

/** One of the linears that a fused one consists of: its row r is row `r % length` of run `floor(r / length)`. */
export interface LinearPart {
  /** What it does. */
  readonly role: 'query' | 'key' | 'value' | 'gate' | 'up';
  /** Where its rows lie. */
  readonly rows: RowRuns;
  /** Where its heads lie, counted among its own rows; null outside attention. */
  readonly heads: HeadAxis | null;
}

/** How the rows (outputs) of one linear reach the columns (inputs) of another. */
export interface Feed {
  /** Path of the linear whose rows arrive. */
  readonly path: string;
  /** The part of a fused linear whose rows arrive, and are counted; null for all rows. */
  readonly part: LinearPart['role'] | null;
  /**
   * True where multiplying row r by s multiplies the columns that it feeds by s: such a factor can be moved from one
   * linear into the other. False behind an activation function.
   */
  readonly scales: boolean;
  /** Length of a head; the whole row count where there are no heads. */
  readonly headDim: number;
  /**
   * How many heads of columns one head of rows feeds: column `(h * repeat + j) * headDim + d` is fed by row
   * `h * headDim + d` for all j < repeat. 1: column i is fed by row i.
   */
  readonly repeat: number;
}

/** Heads along one axis of a weight: index `h * dim + d` belongs to head h. */
export interface HeadAxis {
  /** Rows are outputs, columns inputs. */
  readonly axis: 'rows' | 'columns';
  /** Heads along the axis. */
  readonly count: number;
  /** Length of a head. */
  readonly dim: number;
}

/** A linear layer: `y = x W^T + b`, W [outFeatures, inFeatures]. */
export interface LinearSpec {
  /** Module path: `model.layers.0.self_attn.q_proj`. */
  readonly path: string;
  /** Checkpoint name of the weight: `model.layers.0.self_attn.q_proj.weight`; the embedding's for a tied head. */
  readonly name: string;
  /** Checkpoint name of the bias [outFeatures]; null without one. */
  readonly biasName: string | null;
  /** What it does. */
  readonly role: LinearRole;
  /** The linears that it consists of; empty unless it is fused. Their rows together are all rows. */
  readonly parts: readonly LinearPart[];
  /** The expert that it belongs to; null outside of experts, and in those that every token goes through. */
  readonly expert: number | null;
  /** True in the experts that every token goes through, which are one of a multiple of an expert's width. */
  readonly shared: boolean;
  /**
   * True where checkpoints store the matrix as [inFeatures, outFeatures] (GPT-2). The weights of a model are always
   * [outFeatures, inFeatures]: `modelWeights` turns them round, `storedWeights` back.
   */
  readonly transposed: boolean;
  /** Index of the block; null outside of the blocks. */
  readonly block: number | null;
  /** Columns of the weight. */
  readonly inFeatures: number;
  /** Rows of the weight. */
  readonly outFeatures: number;
  /** True where `biasName` is given. */
  readonly bias: boolean;
  /** Linears with the same group read the very same input: `model.layers.0.attention`. */
  readonly inputGroup: string;
  /** Checkpoint name of the norm whose output is the input and goes nowhere else but to linears; null where there is none. */
  readonly normBefore: string | null;
  /** Linears whose outputs make up the input; empty where a norm stands between. */
  readonly fedBy: readonly Feed[];
  /** Where the heads lie; null outside attention. */
  readonly heads: HeadAxis | null;
  /** True for a head that is the embedding matrix. */
  readonly tied: boolean;
}

/**
 * Where a norm stands: before a part of the block (`attention`, `feed-forward`), between a part and the addition
 * (`after-attention`, `after-feed-forward`), behind the addition (`attention-residual`, `feed-forward-residual`), on queries or
 * keys, on the latents that they come from, behind the embedding, or before the head (`final`).
 */
export type NormRole =
  | 'attention'
  | 'feed-forward'
  | 'after-attention'
  | 'after-feed-forward'
  | 'attention-residual'
  | 'feed-forward-residual'
  | 'query'
  | 'key'
  | 'query-latent'
  | 'key-value-latent'
  | 'embedding'
  | 'final';

/** A normalization layer. */
export interface NormSpec {
  /** Module path: `model.layers.0.input_layernorm`. */
  readonly path: string;
  /** Checkpoint name of the weight. */
  readonly name: string;
  /** Checkpoint name of the bias, of the shape of the weight; null without one. */
  readonly biasName: string | null;
  /** Where it stands. */
  readonly role: NormRole;
  /** `rms`: divided by the root of the mean square. `layer`: the mean is taken away first. */
  readonly kind: 'rms' | 'layer';
  /** It multiplies by `offset + weight`. */
  readonly offset: 0 | 1;
  /** Values that are normalized together. */
  readonly features: number;
  /** Shape of the weight: [features], or [heads, features] where each head has its own. */
  readonly shape: readonly number[];
  /** Input groups of the linears that read its output, where nothing else does; empty otherwise. */
  readonly inputGroups: readonly string[];
}

/** A table of vectors that are looked up: of the tokens, of positions, of segments. Weight [rows, columns]. */
export interface EmbeddingSpec {
  /** Module path: `model.embed_tokens`. */
  readonly path: string;
  /** Checkpoint name of the weight. */
  readonly name: string;
  /** Vocabulary, positions, segments. */
  readonly rows: number;
  /** Length of a vector. */
  readonly columns: number;
}

/** A table of position embeddings. */
export interface PositionSpec extends EmbeddingSpec {
  /** Row of position 0. */
  readonly offset: number;
}

/** A tensor that a block reads and that is neither of a norm nor of a linear. */
export interface ParameterSpec {
  /** Checkpoint name. */
  readonly name: string;
  /** `choice-bias`: added to the scores of the experts for the choice, f32 [experts]. */
  readonly role: 'choice-bias';
  /** Outermost axis first. */
  readonly shape: readonly number[];
}

/** One block. */
export interface BlockSpec {
  /** Counted from 0. */
  readonly index: number;
  /** Module path: `model.layers.0`. Names in the block program are relative to it. */
  readonly path: string;
  /** Blocks of the same variant run the same program with other weights. */
  readonly variant: string;
  /** A token sees itself and the `window - 1` before it; null sees all before it. */
  readonly window: number | null;
  /** Its rotary embedding; null for none. */
  readonly rope: RopeConfig | null;
  /** Norms, in the order in which they are applied. */
  readonly norms: readonly NormSpec[];
  /** Linear layers, in the order in which they are applied. */
  readonly linears: readonly LinearSpec[];
  /** What else it reads; empty for most. */
  readonly parameters: readonly ParameterSpec[];
}

/** What a linear reads beside its input. */
export interface LinearInput {
  /** f32 [rows, 1], 1 for rows that go through it and 0 for rows that were set to zero: tokens that an expert was not chosen for. */
  readonly routed?: Tensor;
  /** f32 [rows, 1], what the router multiplies the output with: of the linear at the end of an expert. */
  readonly share?: Tensor;
}

/** How a program reaches its weights: one block's by names relative to the block, or the model's by full names. */
export interface Scope {
  /** The tensor of this name: `input_layernorm.weight`. */
  weight(name: string): Tensor;
  /**
   * Applies the linear layer at this path to the last axis of `x`. Everything that stands in for a linear (fake
   * quantization, low-rank factors, statistics of its input) is put in here.
   */
  linear(path: string, x: Tensor, input?: LinearInput): Tensor;
}

/** One of the two things that a block keeps of earlier tokens. */
export type KeptPart = 'keys' | 'values';

/** What attention needs beside the hidden states. */
export interface AttentionInputs {
  /** Cosines of the positions, f32 [tokens, rope.dim / 2]; of blocks with rotary embedding. */
  readonly cos?: Tensor;
  /** Sines of the positions, f32 [tokens, rope.dim / 2]; of blocks with rotary embedding. */
  readonly sin?: Tensor;
  /** Added to the scores, f32 [tokens, past + tokens]: 0 where a token sees another, -Infinity where not. */
  readonly mask: Tensor;
  /** Added to the scores of each head, f32 [heads, past + tokens]: linear biases; of models that have such. */
  readonly bias?: Tensor;
  /** Earlier tokens, where there are any. */
  readonly past?: PastKeys;
  /** What becomes of keys and values of these tokens before attention reads them: rounding, as a runtime keeps them. */
  readonly kept?: (part: KeptPart, x: Tensor) => Tensor;
}

/** Keys and values of earlier tokens. */
export interface PastKeys {
  /** f32 [batch, keyValueHeads, past, headDim], already rotated. */
  readonly keys: Tensor;
  /** f32 [batch, keyValueHeads, past, valueDim]. */
  readonly values: Tensor;
}

/** What a block gives back. */
export interface BlockOutput {
  /** f32 [batch, tokens, hidden]. */
  readonly hidden: Tensor;
  /** Queries as they meet the keys, before scores are scaled: f32 [batch, heads, tokens, headDim]. */
  readonly queries: Tensor;
  /** Keys of these tokens, normalized, rotated and as they are kept, f32 [batch, keyValueHeads, tokens, headDim]. */
  readonly keys: Tensor;
  /** Values of these tokens as they are kept, f32 [batch, keyValueHeads, tokens, valueDim]. */
  readonly values: Tensor;
}

/** The forward pass in pieces, as plain tfjs functions: eager on any backend, or traced by `compile`. */
export interface ArchitectureProgram {
  /**
   * Token ids int32 [batch, tokens] to hidden states f32 [batch, tokens, hidden]. Scope: the model.
   *
   * @param positions Rows of the table of positions, int32 [tokens]; looked at where there is such a table.
   * @param segments Rows of the table of segments, int32 [batch, tokens]; looked at where there is such a table, the first
   * segment for all when left out.
   */
  embed(scope: Scope, ids: Tensor, positions: Tensor, segments?: Tensor): Tensor;
  /** One block on hidden states f32 [batch, tokens, hidden]. Scope: the block. */
  block(scope: Scope, block: BlockSpec, hidden: Tensor, attention: AttentionInputs): BlockOutput;
  /** What stands between the last block and the output projection, on f32 [..., hidden]. Scope: the model. */
  finish(scope: Scope, hidden: Tensor): Tensor;
  /** What happens to each value that the output projection gives: scale and cap, elementwise. */
  logits(products: Tensor): Tensor;
}

/** A model's table and program. */
export interface Architecture {
  /** The facts that table and program were made from. */
  readonly config: ModelConfig;
  /** The token embedding. */
  readonly embedding: EmbeddingSpec;
  /** The table of positions; null without one. */
  readonly positions: PositionSpec | null;
  /** The table of segments (token types); null without one. */
  readonly tokenTypes: EmbeddingSpec | null;
  /** The norm behind the embedding; null without one. */
  readonly embeddingNorm: NormSpec | null;
  /** From the width of the embedding to that of the hidden states; null where they are the same. */
  readonly inputProjection: LinearSpec | null;
  /** The blocks, in order. */
  readonly blocks: readonly BlockSpec[];
  /** The norm before the head; null without one. */
  readonly finalNorm: NormSpec | null;
  /** A linear between the last block and the head; null without one. */
  readonly outputProjection: LinearSpec | null;
  /** The output projection. */
  readonly head: LinearSpec;
  /**
   * Module paths of blocks behind the last one, which guess the tokens after the next: `model.layers.61`. Checkpoints may carry
   * them and no program reads them; they are made for the blocks as they are and do not outlive a change of their shapes or number.
   */
  readonly nextTokenPaths: readonly string[];
  /** Tensors that checkpoints may carry and no program reads: old caches and masks. */
  readonly ignored: readonly RegExp[];
  /** Other names and forms that checkpoints have; see `modelWeights`. */
  readonly storage: StorageRules;
  /** The forward pass. */
  readonly program: ArchitectureProgram;
}

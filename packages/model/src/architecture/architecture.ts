// What an architecture is: a table (which tensors there are, which linear feeds which, which share an input, what norm
// stands before it, where the heads lie) and a program over tfjs-core tensors. The table is the only place where names
// of tensors are known: techniques read it and never match names by hand.
import type { Tensor } from '@tensorflow/tfjs-core';
import type { ModelConfig } from '../config/model-config.ts';

/** What a linear layer does in its block. */
export type LinearRole = 'query' | 'key' | 'value' | 'attention-output' | 'gate' | 'up' | 'down' | 'head';

/** How the rows (outputs) of one linear reach the columns (inputs) of another. */
export interface Feed {
  /** Path of the linear whose rows arrive. */
  readonly path: string;
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

/** A linear layer: `y = x W^T + b`, W stored as [outFeatures, inFeatures]. */
export interface LinearSpec {
  /** Module path: `model.layers.0.self_attn.q_proj`. */
  readonly path: string;
  /** Checkpoint name of the weight: `model.layers.0.self_attn.q_proj.weight`; the embedding's for a tied head. */
  readonly name: string;
  /** Checkpoint name of the bias [outFeatures]; null without one. */
  readonly biasName: string | null;
  /** What it does in its block. */
  readonly role: LinearRole;
  /** Index of the block; null for the head. */
  readonly block: number | null;
  /** Columns of the weight. */
  readonly inFeatures: number;
  /** Rows of the weight. */
  readonly outFeatures: number;
  /** True where `biasName` is given. */
  readonly bias: boolean;
  /** Linears with the same group read the very same input: `model.layers.0.attention`. */
  readonly inputGroup: string;
  /** Checkpoint name of the norm whose output is the input; null where the input is no norm's output. */
  readonly normBefore: string | null;
  /** Linears whose outputs make up the input; empty where a norm stands between. */
  readonly fedBy: readonly Feed[];
  /** Where the heads lie; null outside attention. */
  readonly heads: HeadAxis | null;
  /** True for a head that is the embedding matrix. */
  readonly tied: boolean;
}

/** A normalization layer: its weight is [features]. */
export interface NormSpec {
  /** Module path: `model.layers.0.input_layernorm`. */
  readonly path: string;
  /** Checkpoint name of the weight. */
  readonly name: string;
  /** `rms`: divided by the root of the mean square, no bias. */
  readonly kind: 'rms';
  /** Length of the weight. */
  readonly features: number;
  /** Input groups of the linears that read its output; empty for none. */
  readonly inputGroups: readonly string[];
}

/** The token embedding: weight [rows, columns] = [vocabulary, hidden]. */
export interface EmbeddingSpec {
  /** Module path: `model.embed_tokens`. */
  readonly path: string;
  /** Checkpoint name of the weight. */
  readonly name: string;
  /** Vocabulary. */
  readonly rows: number;
  /** Width of the hidden states. */
  readonly columns: number;
}

/** One decoder block. */
export interface BlockSpec {
  /** Counted from 0. */
  readonly index: number;
  /** Module path: `model.layers.0`. Names in the block program are relative to it. */
  readonly path: string;
  /** Blocks of the same variant run the same program with other weights. */
  readonly variant: string;
  /** A token sees itself and the `window - 1` before it; null sees all before it. */
  readonly window: number | null;
  /** Norms, in the order in which they are applied. */
  readonly norms: readonly NormSpec[];
  /** Linear layers, in the order in which they are applied. */
  readonly linears: readonly LinearSpec[];
}

/** How a program reaches its weights: one block's by names relative to the block, or the model's by full names. */
export interface Scope {
  /** The tensor of this name: `input_layernorm.weight`. */
  weight(name: string): Tensor;
  /**
   * Applies the linear layer at this path to the last axis of `x`. Everything that stands in for a linear (fake
   * quantization, low-rank factors, statistics of its input) is put in here.
   */
  linear(path: string, x: Tensor): Tensor;
}

/** What attention needs beside the hidden states. */
export interface AttentionInputs {
  /** Cosines of the positions, f32 [tokens, headDim / 2]. */
  readonly cos: Tensor;
  /** Sines of the positions, f32 [tokens, headDim / 2]. */
  readonly sin: Tensor;
  /** Added to the scores, f32 [tokens, past + tokens]: 0 where a token sees another, -Infinity where not. */
  readonly mask: Tensor;
  /** Earlier tokens, where there are any. */
  readonly past?: PastKeys;
}

/** Keys and values of earlier tokens. */
export interface PastKeys {
  /** f32 [batch, keyValueHeads, past, headDim], already rotated. */
  readonly keys: Tensor;
  /** f32 [batch, keyValueHeads, past, headDim]. */
  readonly values: Tensor;
}

/** What a block gives back. */
export interface BlockOutput {
  /** f32 [batch, tokens, hidden]. */
  readonly hidden: Tensor;
  /** Rotated keys of these tokens, f32 [batch, keyValueHeads, tokens, headDim]. */
  readonly keys: Tensor;
  /** Values of these tokens, f32 [batch, keyValueHeads, tokens, headDim]. */
  readonly values: Tensor;
}

/** The forward pass in pieces, as plain tfjs functions: eager on any backend, or traced by `compile`. */
export interface ArchitectureProgram {
  /** Token ids int32 [batch, tokens] to hidden states f32 [batch, tokens, hidden]. Scope: the model. */
  embed(scope: Scope, ids: Tensor): Tensor;
  /** One block on hidden states f32 [batch, tokens, hidden]. Scope: the block. */
  block(scope: Scope, block: BlockSpec, hidden: Tensor, attention: AttentionInputs): BlockOutput;
  /** What stands between the last block and the output projection, on f32 [..., hidden]. Scope: the model. */
  finish(scope: Scope, hidden: Tensor): Tensor;
}

/** A model's table and program. */
export interface Architecture {
  /** The facts that table and program were made from. */
  readonly config: ModelConfig;
  /** The token embedding. */
  readonly embedding: EmbeddingSpec;
  /** The blocks, in order. */
  readonly blocks: readonly BlockSpec[];
  /** The norm after the last block. */
  readonly finalNorm: NormSpec;
  /** The output projection. */
  readonly head: LinearSpec;
  /** Tensors that checkpoints may carry and no program reads: old caches and masks. */
  readonly ignored: readonly RegExp[];
  /** The forward pass. */
  readonly program: ArchitectureProgram;
}

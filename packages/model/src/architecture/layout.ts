// What tells one architecture from another beside the numbers of its config: names of modules, and which matrices are fused.
// Table and program are made from it and the config; a family is a layout and a reader of configs.
import type { StorageRules } from './storage-rules.ts';

/** Modules of attention, relative to the block. */
export type AttentionLayout = (
  | { readonly kind: 'separate'; readonly query: string; readonly key: string; readonly value: string }
  | {
      readonly kind: 'fused';
      readonly queryKeyValue: string;
      /** `parts`: all queries, all keys, all values. `groups`: for each key head its queries, the key and the value. */
      readonly order: 'parts' | 'groups';
    }
  | {
      readonly kind: 'latent';
      /** Of the hidden states, where queries have no latent. */
      readonly query: string;
      readonly queryLatent: string;
      readonly queryLatentNorm: string;
      /** Of the queries' latent. */
      readonly queryUp: string;
      /** The latent, behind it the part of the keys that is rotated. */
      readonly keyValueLatent: string;
      readonly keyValueLatentNorm: string;
      /** For each head its key and its value. */
      readonly keyValue: string;
    }
) & {
  readonly output: string;
  /** Norms of queries and keys, where the config has such; with weights for each head in modules of their own `eachHead` is true. */
  readonly norms?: { readonly query: string; readonly key: string; readonly eachHead?: boolean };
};

/** Modules of the feed-forward part, relative to the block. */
export type FeedForwardLayout =
  | { readonly kind: 'gated'; readonly gate: string; readonly up: string; readonly down: string }
  | { readonly kind: 'gated-fused'; readonly gateUp: string; readonly down: string }
  | { readonly kind: 'plain'; readonly up: string; readonly down: string };

/** Modules of experts, relative to the block. */
export interface ExpertLayout {
  readonly router: string;
  /** Modules of one expert are `<experts>.<index>.<gate>` and so on. */
  readonly experts: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
  /** What is added to the scores for the choice, a tensor, where the config has such. */
  readonly choiceBias?: string;
  /** Modules of the experts that every token goes through are `<shared>.<gate>` and so on. */
  readonly shared?: string;
  /** Names, relative to the block, of the tensors that hold the matrices of all experts in other checkpoints. */
  readonly packed: readonly { readonly gateUp: string; readonly down: string }[];
}

/** Norms of a block, as its `ResidualLayout` has them, relative to the block. */
export interface BlockNormLayout {
  readonly attention?: string;
  readonly afterAttention?: string;
  readonly feedForward?: string;
  readonly afterFeedForward?: string;
}

/** Names of an architecture. Modules are paths without `.weight`. */
export interface Layout {
  readonly embedding: string;
  readonly positions?: string;
  readonly tokenTypes?: string;
  readonly embeddingNorm?: string;
  readonly inputProjection?: string;
  /** Blocks are `<blocks>.<index>`. */
  readonly blocks: string;
  readonly norms: BlockNormLayout;
  readonly attention: AttentionLayout;
  readonly feedForward: FeedForwardLayout;
  readonly experts?: ExpertLayout;
  readonly finalNorm?: string;
  /** A linear between the last block and the head: before the final norm with its activation, or after it. */
  readonly outputProjection?: { readonly path: string; readonly bias: boolean; readonly activated: boolean };
  readonly head: string;
  /** Name of the tensor that is added to the logits. */
  readonly headBias?: string;
  /** True where the matrices of the blocks are stored [in, out]. */
  readonly transposed?: boolean;
  readonly ignored?: readonly RegExp[];
  readonly rename?: StorageRules['rename'];
}

// The facts of a model, normalized: one shape for whatever style a config.json is written in. Programs and techniques
// read this and never the file.

/** How rotary frequencies are stretched to positions beyond those of training. */
export type RopeScaling =
  | { readonly kind: 'none' }
  /** Positions are divided by `factor` (Chen et al. 2023, position interpolation). */
  | { readonly kind: 'linear'; readonly factor: number }
  /** Low frequencies are divided by `factor`, high ones kept, those between interpolated (Llama 3.1). */
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    };

/** Rotary position embedding (Su et al. 2021), rotating the two halves of a head against each other. */
export interface RopeConfig {
  /** Base of the frequencies: `theta^(-2i / headDim)`. */
  readonly theta: number;
  readonly scaling: RopeScaling;
}

/** Which linear layers carry a bias vector. */
export interface BiasConfig {
  /** Query, key and value projections. */
  readonly queryKeyValue: boolean;
  /** The projection after attention. */
  readonly attentionOutput: boolean;
  /** All projections of the feed-forward part. */
  readonly feedForward: boolean;
}

/** Activation functions that the programs know. */
export type Activation = 'silu';

/** A decoder's facts, checked against the caps of `hf-config.ts` and frozen. */
export interface ModelConfig {
  /** `model_type` of the config: `llama`. */
  readonly modelType: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** Width of the feed-forward part. */
  readonly intermediateSize: number;
  /** Number of blocks. */
  readonly layers: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads; divides `heads`. */
  readonly keyValueHeads: number;
  readonly headDim: number;
  /** Positions that the model was made for. */
  readonly maxPositions: number;
  /** Added to the mean square before the root. */
  readonly normEpsilon: number;
  readonly activation: Activation;
  readonly rope: RopeConfig;
  /** Per block: a token sees itself and the `window - 1` before it; null sees all before it. */
  readonly windows: readonly (number | null)[];
  readonly biases: BiasConfig;
  /** The output projection is the embedding matrix. */
  readonly tiedEmbeddings: boolean;
  /** Token that opens a text; null where the config names none. */
  readonly bosTokenId: number | null;
  /** Tokens that end a text; may be empty. */
  readonly eosTokenIds: readonly number[];
  /** Dtype that the config says the weights are stored in (`float32`, `bfloat16`); null where it is silent. */
  readonly storedDType: string | null;
}

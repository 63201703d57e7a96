// The facts of a model, normalized: one shape for whatever style a config.json is written in. Programs and techniques
// read this and never the file.

/** Frequencies as they are. */
export interface NoRopeScaling {
  /** Tells the union apart. */
  readonly kind: 'none';
}

/** Positions are divided by a factor (Chen et al. 2023, position interpolation). */
export interface LinearRopeScaling {
  /** Tells the union apart. */
  readonly kind: 'linear';
  /** Divides every frequency. */
  readonly factor: number;
}

/** Low frequencies are divided by a factor, high ones kept, those between interpolated (Llama 3.1). */
export interface Llama3RopeScaling {
  /** Tells the union apart. */
  readonly kind: 'llama3';
  /** Divides the low frequencies. */
  readonly factor: number;
  /** Wavelengths above `originalMaxPositions / lowFrequencyFactor` are low frequencies. */
  readonly lowFrequencyFactor: number;
  /** Wavelengths below `originalMaxPositions / highFrequencyFactor` are high frequencies. */
  readonly highFrequencyFactor: number;
  /** Positions that the model was first trained on. */
  readonly originalMaxPositions: number;
}

/** How rotary frequencies are stretched to positions beyond those of training. */
export type RopeScaling = NoRopeScaling | LinearRopeScaling | Llama3RopeScaling;

/** Rotary position embedding (Su et al. 2021), rotating the two halves of a head against each other. */
export interface RopeConfig {
  /** Base of the frequencies: `theta^(-2i / headDim)`. */
  readonly theta: number;
  /** How they are stretched. */
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
  /** Rows of the embedding. */
  readonly vocabularySize: number;
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Width of the feed-forward part. */
  readonly intermediateSize: number;
  /** Number of blocks. */
  readonly layers: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads; divides `heads`. */
  readonly keyValueHeads: number;
  /** Length of a head. */
  readonly headDim: number;
  /** Positions that the model was made for. */
  readonly maxPositions: number;
  /** Added to the mean square before the root. */
  readonly normEpsilon: number;
  /** Of the feed-forward part. */
  readonly activation: Activation;
  /** Position embedding. */
  readonly rope: RopeConfig;
  /** Per block: a token sees itself and the `window - 1` before it; null sees all before it. */
  readonly windows: readonly (number | null)[];
  /** Which linear layers carry a bias. */
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

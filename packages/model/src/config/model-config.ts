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

/** Frequencies of long texts are divided, those of short ones kept, with a ramp between; attention is sharpened (Peng et al. 2023, YaRN). */
export interface YarnRopeScaling {
  /** Tells the union apart. */
  readonly kind: 'yarn';
  /** Divides the low frequencies. */
  readonly factor: number;
  /** Turns within the original positions above which a frequency is kept. */
  readonly betaFast: number;
  /** Turns below which a frequency is divided. */
  readonly betaSlow: number;
  /** Positions that the model was first trained on. */
  readonly originalMaxPositions: number;
  /** Multiplies cosines and sines. */
  readonly attentionFactor: number;
  /** Whether the ends of the ramp are rounded to whole frequencies. */
  readonly truncate: boolean;
}

/** One factor for each frequency, one set for texts up to the original length and one beyond (Ding et al. 2024, LongRoPE; Phi-3's `su`). */
export interface LongRopeScaling {
  /** Tells the union apart. */
  readonly kind: 'longrope';
  /** Divides the frequencies of texts up to `originalMaxPositions`; one for each pair. */
  readonly shortFactors: readonly number[];
  /** Divides those of longer texts. */
  readonly longFactors: readonly number[];
  /** Positions that the model was first trained on. */
  readonly originalMaxPositions: number;
  /** Multiplies cosines and sines. */
  readonly attentionFactor: number;
}

/** The base grows with the length of the text once it is longer than the model was made for ("NTK-aware", dynamic). */
export interface DynamicRopeScaling {
  /** Tells the union apart. */
  readonly kind: 'dynamic';
  /** How fast the base grows. */
  readonly factor: number;
  /** Positions up to which the base stays. */
  readonly originalMaxPositions: number;
}

/** How rotary frequencies are stretched to positions beyond those of training. */
export type RopeScaling =
  NoRopeScaling | LinearRopeScaling | Llama3RopeScaling | YarnRopeScaling | LongRopeScaling | DynamicRopeScaling;

/** Rotary position embedding (Su et al. 2021). */
export interface RopeConfig {
  /** Base of the frequencies: `theta^(-2i / dim)`. */
  readonly theta: number;
  /** How they are stretched. */
  readonly scaling: RopeScaling;
  /** Values of a head that are rotated, the first ones; even. The others stay as they are. */
  readonly dim: number;
  /** False: value i is rotated with value i + dim / 2. True: neighbours are rotated with one another (2 i with 2 i + 1). */
  readonly interleaved: boolean;
}

/** How a model knows the order of its tokens, beside the mask. */
export type PositionKind = 'rotary' | 'learned' | 'alibi' | 'none';

/** Learned position embeddings: one row is added to each token's. */
export interface LearnedPositions {
  /** Row of position 0 (OPT: 2). */
  readonly offset: number;
  /** Rows of the table. */
  readonly rows: number;
}

/** Attention with linear biases (Press et al. 2022). */
export interface AlibiConfig {
  /** True where slopes and products are rounded to bf16 before they are added, as Falcon does, whatever the weights are in. */
  readonly roundedToBf16: boolean;
  /** True where the bias is added before the scores are scaled (Falcon), false where after (BLOOM). */
  readonly beforeScale: boolean;
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

/** Activation functions that the programs know: `gelu` is exact, `gelu-tanh` its approximation by tanh. */
export type Activation = 'silu' | 'gelu' | 'gelu-tanh' | 'relu';

/** How norms of a model compute. */
export interface NormConfig {
  /** `rms`: divided by the root of the mean square. `layer`: the mean is taken away first. */
  readonly kind: 'rms' | 'layer';
  /** Added to the mean square or the variance before the root. */
  readonly epsilon: number;
  /** The norm multiplies by `offset + weight`: 1 for Gemma, 0 for all others. */
  readonly offset: 0 | 1;
  /** Whether a vector is added at the end. */
  readonly bias: boolean;
}

/** Norms of queries and keys: `head` one weight for all heads, `whole` over all heads together, `each-head` a weight for each head. */
export interface QueryKeyNormConfig {
  /** What is normalized together, and how the weights lie. */
  readonly over: 'head' | 'whole' | 'each-head';
  /** How. */
  readonly norm: NormConfig;
}

/** Where the norms of a block stand and how its two parts are added. */
export type ResidualLayout =
  /** `x + attention(norm(x))`, then the feed-forward part alike. */
  | 'pre'
  /** `norm(x + attention(x))`: the norms come after the addition (BERT, OPT-350m). */
  | 'post'
  /** `x + norm(attention(norm(x)))`: norms on both sides (Gemma 2 and 3). */
  | 'sandwich'
  /** `x + norm(attention(x))`: a norm of what is added only (OLMo 2). */
  | 'after'
  /** `x + attention(norm(x)) + feedForward(norm(x))`, one norm for both. */
  | 'parallel'
  /** The same with a norm for each. */
  | 'parallel-two-norms';

/** Experts of the feed-forward part, of which a router picks some for each token (Shazeer et al. 2017). */
export interface ExpertConfig {
  /** How many there are. */
  readonly count: number;
  /** How many each token goes through. */
  readonly perToken: number;
  /** Width of one expert. */
  readonly intermediateSize: number;
  /** True where the weights of the chosen experts are scaled to sum to 1. */
  readonly normalizeWeights: boolean;
  /** How the router's products become scores: over all experts, or of each for itself. */
  readonly scoring: 'softmax' | 'sigmoid';
  /** True where a stored bias is added to the scores for the choice, and only there (DeepSeek-V3). */
  readonly choiceBias: boolean;
  /** Runs of neighbouring experts, of which the best few are looked at for each token; 1 for no such choice. Divides `count`. */
  readonly groups: number;
  /** Groups that are looked at for each token. */
  readonly groupsPerToken: number;
  /** What a group is chosen by: its largest score, or the sum of its two largest. */
  readonly groupScore: 'largest' | 'two-largest';
  /** Multiplies the weights of the chosen experts at the end. */
  readonly weightScale: number;
  /** Experts that every token goes through, stored as one of `shared` times the width; 0 for none. */
  readonly shared: number;
  /** Per block: whether its feed-forward part has experts. */
  readonly layers: readonly boolean[];
}

/**
 * Attention whose keys and values are made of one short vector for each token (DeepSeek-V2, section 2.1): a linear gives the
 * latent and the part of the keys that is rotated, which all heads share; behind a norm the latent becomes the rest of the keys,
 * and the values. Queries may come from a latent of their own.
 */
export interface LatentAttentionConfig {
  /** Length of the queries' latent; null where queries come from the hidden states. */
  readonly queryRank: number | null;
  /** Length of the latent of keys and values. */
  readonly keyValueRank: number;
  /** Values of a head's query and key that are not rotated; they come first. */
  readonly plainDim: number;
  /** Values of a head's query and key that are rotated. */
  readonly rotaryDim: number;
  /** Length of a head's value. */
  readonly valueDim: number;
  /** The norms of the latents. */
  readonly norm: NormConfig;
}

/** A model's facts, checked against the caps of `hf-config.ts` and frozen. */
export interface ModelConfig {
  /** `model_type` of the config: `llama`. */
  readonly modelType: string;
  /** `decoder`: a token sees those before it. `encoder`: it sees all. */
  readonly kind: 'decoder' | 'encoder';
  /** Rows of the embedding. */
  readonly vocabularySize: number;
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Width of the token embedding, where it is not that of the hidden states a linear stands between. */
  readonly embeddingSize: number;
  /** Width of the feed-forward part (of blocks without experts). */
  readonly intermediateSize: number;
  /** Number of blocks. */
  readonly layers: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads; divides `heads`. */
  readonly keyValueHeads: number;
  /** Length of a head's query and key. */
  readonly headDim: number;
  /** Length of a head's value; that of its key but for latent attention. */
  readonly valueDim: number;
  /** Null where queries, keys and values come straight from the hidden states. */
  readonly latentAttention: LatentAttentionConfig | null;
  /** Blocks behind the last one that guess the tokens after the next; checkpoints may carry them, no program runs them. */
  readonly nextTokenLayers: number;
  /** Positions that the model was made for. */
  readonly maxPositions: number;
  /** Added to the mean square or variance before the root, in every norm outside of attention. */
  readonly normEpsilon: number;
  /** How the norms compute. */
  readonly norm: NormConfig;
  /** Norms of queries and keys; null for none. */
  readonly queryKeyNorm: QueryKeyNormConfig | null;
  /** Where norms stand in a block. */
  readonly residual: ResidualLayout;
  /** Of the feed-forward part. */
  readonly activation: Activation;
  /** How positions are told apart. */
  readonly positions: PositionKind;
  /** Rotary embedding of the blocks, of those without a window where there are two kinds; null without one. */
  readonly rope: RopeConfig | null;
  /** Per block: its rotary embedding, null for none. */
  readonly ropes: readonly (RopeConfig | null)[];
  /** Null unless `positions` is `learned`. */
  readonly learnedPositions: LearnedPositions | null;
  /** Null unless `positions` is `alibi`. */
  readonly alibi: AlibiConfig | null;
  /** Rows of the table of segments that is added to the embedding (BERT); 0 for none. */
  readonly tokenTypes: number;
  /** Per block: a token sees itself and the `window - 1` before it; null sees all before it. */
  readonly windows: readonly (number | null)[];
  /** Which linear layers carry a bias. */
  readonly biases: BiasConfig;
  /** Experts; null for none. */
  readonly experts: ExpertConfig | null;
  /** Multiplies products of queries and keys; `1 / sqrt(headDim)` unless the architecture says otherwise. */
  readonly attentionScale: number;
  /** Scores become `cap tanh(score / cap)` before the mask; null for none. */
  readonly attentionSoftCap: number | null;
  /** Logits become `cap tanh(logit / cap)`; null for none. */
  readonly logitSoftCap: number | null;
  /** Multiplies the logits, before a cap. */
  readonly logitScale: number;
  /** Multiplies the embedding. */
  readonly embeddingScale: number;
  /** Multiplies what each part of a block adds to the hidden states. */
  readonly residualScale: number;
  /** What an architecture alone has, by names of its own: `newDecoder`, `multiQuery` of Falcon. */
  readonly traits: Readonly<Record<string, boolean>>;
  /** The output projection is the embedding matrix. */
  readonly tiedEmbeddings: boolean;
  /** Token that opens a text; null where the config names none. */
  readonly bosTokenId: number | null;
  /** Tokens that end a text; may be empty. */
  readonly eosTokenIds: readonly number[];
  /** Dtype that the config says the weights are stored in (`float32`, `bfloat16`); null where it is silent. */
  readonly storedDType: string | null;
}

// Everything that the demo model follows from: change a number here and `npm run train` makes another model.

/** Characters of text and the seed that writes them. No two texts share a seed. */
export const texts = {
  training: { seed: 1, characters: 18_000_000 },
  evaluation: { seed: 2, characters: 80_000 },
  calibration: { seed: 3, characters: 80_000 },
};

/** Symbols of the tokenizer, learnt from the first characters of the training text. */
export const tokenizer = { size: 2048, characters: 2_000_000, bos: '<s>', eos: '</s>' };

/** config.json of the model. Every matrix has columns that 128 and 256 divide. */
export const modelConfig = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  attention_dropout: 0,
  bos_token_id: 0,
  eos_token_id: 1,
  head_dim: 32,
  hidden_act: 'silu',
  hidden_size: 256,
  initializer_range: 0.02,
  intermediate_size: 512,
  max_position_embeddings: 512,
  mlp_bias: false,
  model_type: 'llama',
  num_attention_heads: 8,
  num_hidden_layers: 3,
  num_key_value_heads: 4,
  rms_norm_eps: 1e-5,
  rope_scaling: null,
  rope_theta: 10000,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  use_cache: true,
  vocab_size: tokenizer.size,
};

/** generation_config.json of the model. */
export const generationConfig = { bos_token_id: 0, eos_token_id: 1 };

/** The run of training. A step sees `batchSize` windows of `context` tokens. */
export const training = {
  seed: 4,
  steps: 7500,
  batchSize: 2,
  context: 256,
  warmupSteps: 300,
  peakRate: 1.5e-3,
  floorRate: 1e-5,
  adamw: { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.05 },
  clipNorm: 1,
  /** Steps between two lines of the loss curve. */
  logEvery: 10,
  /** Steps between two saved states; a multiple of `logEvery`. */
  saveEvery: 250,
};

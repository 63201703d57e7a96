// What llama.cpp computes for each architecture whatever a config says: one activation function, biases that must or must not be
// there, a head that is or is not the embedding, one scale of attention. A model that says otherwise would load and write nonsense,
// or not load. Facts: llama.cpp v0.5.0, src/models and src/llama-model.cpp.
import { PithError } from '@pith/tensor-core';
import type { Activation, ModelConfig } from '../config/model-config.ts';

/** Whether vectors of a part must be there (zeros do where a model has none), must not, or may. */
type Presence = 'needed' | 'none' | 'any';

interface Limits {
  /** `gelu` is computed as its approximation by tanh. */
  readonly activation: 'silu' | 'gelu';
  /** Biases of the query, key and value projections, of the one behind attention, and of the feed-forward part. */
  readonly biases: readonly [queryKeyValue: Presence, attentionOutput: Presence, feedForward: Presence];
  /**
   * `embedding`: the head is the token embedding and has no tensor. `own`: it has a tensor, a copy where it is the embedding.
   * `any`: it has one where it is not the embedding.
   */
  readonly head: 'embedding' | 'own' | 'any';
  /** True where a head is as long as the width by the heads, whatever the file says. */
  readonly evenHeads?: true;
  /** Rope scalings beside `none`; all that llama.cpp has are `linear`, `yarn`, `llama3` and `longrope`. */
  readonly scalings: readonly string[];
  /** Sliding windows are known, of some blocks or of all. */
  readonly windows?: true;
  /** What else there is to say of a config. */
  readonly also?: (config: ModelConfig) => string[];
}

const NO_BIAS = ['none', 'none', 'none'] as const;
const ALL_BIASES = ['needed', 'needed', 'needed'] as const;
/** llama.cpp takes whatever vectors of attention's inputs there are. */
const INPUTS_ONLY = ['any', 'none', 'none'] as const;
const STRETCHED = ['linear', 'yarn'] as const;
const FACTORS = [...STRETCHED, 'llama3', 'longrope'] as const;

const LLAMA: Limits = { activation: 'silu', biases: ['any', 'any', 'any'], head: 'any', scalings: FACTORS };
const QWEN3: Limits = { activation: 'silu', biases: INPUTS_ONLY, head: 'any', scalings: STRETCHED };
const GEMMA: Limits = { activation: 'gelu', biases: INPUTS_ONLY, head: 'embedding', scalings: STRETCHED };
const GPT: Limits = { activation: 'gelu', biases: ALL_BIASES, head: 'any', evenHeads: true, scalings: [] };

/** From this number of blocks on llama.cpp wants norms of queries and keys in Command R. */
const COMMAND_R_PLUS_BLOCKS = 64;
/** Every so many blocks SmolLM3 has no rotary embedding. */
const SMOLLM3_INTERVAL = 4;

/** Numbers of blocks by which llama.cpp knows DeepSeek-V2-Lite and its like, which have no latent of the queries. */
const LITE_BLOCKS: readonly number[] = [26, 27];

const LATENT: Limits = {
  activation: 'silu',
  biases: NO_BIAS,
  head: 'any',
  scalings: ['yarn'],
  also: ({ layers, rope, biases, latentAttention, experts, normEpsilon }) => [
    ...(biases.feedForward ? ['the feed-forward part must have no bias'] : []),
    ...(rope?.interleaved === false ? ['rope_interleave must be true, got false'] : []),
    ...(rope?.scaling.kind === 'yarn' && (Math.abs(rope.scaling.attentionFactor - 1) > 1e-6 || rope.scaling.factor <= 1)
      ? [
          `yarn must leave cosines and sines as they are (mscale as mscale_all_dim), got a factor of ${rope.scaling.attentionFactor}`,
        ]
      : []),
    ...(latentAttention && latentAttention.norm.epsilon !== normEpsilon
      ? [`rms_norm_eps must be that of the latents' norms, ${latentAttention.norm.epsilon}, got ${normEpsilon}`]
      : []),
    ...(latentAttention?.queryRank != null && LITE_BLOCKS.includes(layers)
      ? [`q_lora_rank must be null with ${layers} blocks, got ${latentAttention.queryRank}`]
      : []),
    ...(experts && experts.groups > 1 && experts.groupScore === 'largest'
      ? ['groups of experts must be chosen by their two best, they are by their best']
      : []),
    ...(experts?.layers.includes(true) === false ? ['some block must have experts, all are dense'] : []),
  ],
};

const LIMITS: Readonly<Record<string, Limits>> = {
  deepseek_v2: LATENT,
  deepseek_v3: LATENT,
  llama: LLAMA,
  mistral: LLAMA,
  mixtral: LLAMA,
  granite: LLAMA,
  qwen2: { ...QWEN3, evenHeads: true },
  qwen3: QWEN3,
  qwen3_moe: {
    ...QWEN3,
    also: ({ experts }) => [
      ...(experts?.normalizeWeights === false ? ['norm_topk_prob must be true, got false'] : []),
      ...(experts?.layers.includes(false) ? ['every block must have experts, some are dense'] : []),
    ],
  },
  smollm3: {
    ...QWEN3,
    also: ({ ropes }) =>
      ropes.every((rope, i) => (rope === null) === ((i + 1) % SMOLLM3_INTERVAL === 0))
        ? []
        : [`rotary embedding must be missing in every ${SMOLLM3_INTERVAL}th block and no other`],
  },
  gemma: GEMMA,
  gemma2: {
    ...GEMMA,
    windows: true,
    also: ({ attentionSoftCap, logitSoftCap }) =>
      attentionSoftCap === null || logitSoftCap === null ? ['scores and logits must be capped, one is not'] : [],
  },
  gemma3_text: {
    ...GEMMA,
    head: 'any',
    scalings: ['linear'],
    windows: true,
    also: ({ ropes, windows }) =>
      ropes.some((rope, i) => windows[i] !== null && rope?.scaling.kind !== 'none')
        ? ['frequencies of windowed blocks must not be scaled']
        : [],
  },
  phi: { ...GPT, head: 'own', scalings: STRETCHED },
  phi3: { activation: 'silu', biases: NO_BIAS, head: 'any', evenHeads: true, scalings: [...STRETCHED, 'longrope'] },
  starcoder2: { ...GPT, biases: ['any', 'needed', 'needed'], scalings: STRETCHED },
  olmo2: { ...QWEN3, head: 'own', evenHeads: true },
  cohere: {
    ...QWEN3,
    head: 'embedding',
    evenHeads: true,
    also: ({ layers, queryKeyNorm }) =>
      (queryKeyNorm !== null) === layers >= COMMAND_R_PLUS_BLOCKS
        ? []
        : [
            `norms of queries and keys must be there from ${COMMAND_R_PLUS_BLOCKS} blocks on and only then, ` +
              `got ${queryKeyNorm === null ? 'none' : 'them'} in ${layers} blocks`,
          ],
  },
  stablelm: { ...QWEN3, head: 'own', evenHeads: true },
  gpt2: GPT,
  gpt_neox: { ...GPT, head: 'own', scalings: STRETCHED },
  bloom: GPT,
  falcon: {
    ...GPT,
    biases: NO_BIAS,
    scalings: STRETCHED,
    also: ({ alibi, residual }) => [
      ...(alibi === null ? [] : ['positions must be rotary, got linear biases']),
      ...(residual.startsWith('parallel') ? [] : ['parallel_attn must be true, got false']),
    ],
  },
  bert: GPT,
};

/** What llama.cpp makes of a model's head: see {@link Limits}. */
export function headOf(modelType: string): Limits['head'] {
  return LIMITS[modelType]?.head ?? 'any';
}

const BIASED = ['attn_q', 'attn_k', 'attn_v', 'attn_qkv', 'attn_output', 'ffn_up', 'ffn_down'];

/** Whether llama.cpp does not load a file without the bias of this module of a block (`attn_output`). */
export function needsBias(modelType: string, module: string): boolean {
  if (!BIASED.includes(module)) return false;
  const [queryKeyValue, attentionOutput, feedForward] = LIMITS[modelType]?.biases ?? ['any', 'any', 'any'];
  if (module === 'attn_output') return attentionOutput === 'needed';
  return (module.startsWith('attn') ? queryKeyValue : feedForward) === 'needed';
}

/** Whether llama.cpp has the sliding windows of an architecture. */
export function ggufKeepsWindows(modelType: string): boolean {
  return LIMITS[modelType]?.windows === true;
}

/**
 * Checks that llama.cpp computes what the model does.
 *
 * @throws PithError `GGUF_MODEL_UNSUPPORTED` with every way in which it does not.
 */
export function checkLimits(config: ModelConfig): void {
  const problems = problemsOf(config);
  if (problems.length === 0) return;
  throw new PithError(
    'GGUF_MODEL_UNSUPPORTED',
    `export GGUF: llama.cpp computes ${config.modelType} in one way: ${problems.join('; ')}; choose another format`,
    { details: { modelType: config.modelType, problems } },
  );
}

function problemsOf(config: ModelConfig): string[] {
  const limits = LIMITS[config.modelType];
  if (limits === undefined) return [];
  const { hiddenSize, heads, headDim, tiedEmbeddings } = config;
  return [
    ...activationProblems(config, limits),
    ...biasProblems(config, limits),
    ...(limits.head === 'embedding' && !tiedEmbeddings ? ['the output projection must be the token embedding'] : []),
    ...(limits.evenHeads && headDim * heads !== hiddenSize
      ? [`head_dim must be hidden_size ${hiddenSize} / ${heads} heads, got ${headDim}`]
      : []),
    ...scaleProblems(config),
    ...scalingProblems(config, limits),
    ...(limits.also?.(config) ?? []),
  ];
}

function activationProblems({ activation }: ModelConfig, limits: Limits): string[] {
  const family: Activation | 'gelu' = activation === 'gelu-tanh' ? 'gelu' : activation;
  return family === limits.activation
    ? []
    : [`the activation function must be ${limits.activation}, got ${activation}`];
}

function biasProblems({ biases, experts }: ModelConfig, limits: Limits): string[] {
  const [queryKeyValue, attentionOutput, feedForward] = limits.biases;
  const parts = [
    ['query, key and value', queryKeyValue, biases.queryKeyValue],
    ['the attention output', attentionOutput, biases.attentionOutput],
    ['the feed-forward part', feedForward, biases.feedForward && experts === null],
  ] as const;
  return parts.flatMap(([part, wanted, has]) => (wanted === 'none' && has ? [`${part} must have no bias`] : []));
}

/** Blocks of the largest models of Gemma 2 and 3, which llama.cpp knows by them and scales by the width of a head instead. */
const SCALED_BY_WIDTH: Readonly<Record<string, number>> = { gemma2: 46, gemma3_text: 62 };

/** What llama.cpp divides the squared scale of attention by. */
function scaleLength({ modelType, headDim, hiddenSize, heads, layers }: ModelConfig): number {
  return SCALED_BY_WIDTH[modelType] === layers ? Math.floor(hiddenSize / heads) : headDim;
}

/**
 * What queries are multiplied by in the file, because llama.cpp scales their products with keys otherwise than the model; 1 where it
 * does not. It goes into what makes the queries last: their norm, or their matrix.
 */
export function queryScale(config: ModelConfig): number {
  if (!FOLDED.includes(config.modelType)) return 1;
  const ratio = config.attentionScale * Math.sqrt(scaleLength(config));
  return Math.abs(ratio - 1) <= 1e-6 ? 1 : ratio;
}

/** Architectures whose configs name a scale of their own, and whose queries have a matrix or a norm of their own. */
const FOLDED = ['gemma2', 'gemma3_text'];

function scaleProblems(config: ModelConfig): string[] {
  const { modelType, attentionScale, latentAttention } = config;
  // What YaRN raises scores by is said in the file.
  if (modelType === 'granite' || latentAttention !== null || FOLDED.includes(modelType)) return [];
  const length = scaleLength(config);
  const usual = 1 / Math.sqrt(length);
  return Math.abs(attentionScale - usual) <= 1e-6 * usual
    ? []
    : [`products of queries and keys must be scaled by 1 / sqrt(${length}), they are by ${attentionScale}`];
}

/** YaRN's bounds of the ramp, which llama.cpp does not read for these architectures. */
const BETAS = { fast: 32, slow: 1 } as const;

function scalingProblems({ ropes }: ModelConfig, { scalings }: Limits): string[] {
  const problems = new Set<string>();
  for (const rope of ropes) {
    if (rope === null) continue;
    const { scaling } = rope;
    if (scaling.kind !== 'none' && !scalings.includes(scaling.kind)) {
      problems.add(
        `the scaling of the rotary frequencies must be ${['none', ...scalings].join(', ')}, got ${scaling.kind}`,
      );
    } else if (scaling.kind === 'yarn') {
      const { betaFast, betaSlow, truncate } = scaling;
      if (betaFast !== BETAS.fast || betaSlow !== BETAS.slow || !truncate) {
        problems.add(
          `yarn must have beta_fast ${BETAS.fast}, beta_slow ${BETAS.slow} and truncate true, got ${betaFast}, ${betaSlow} and ${truncate}`,
        );
      }
    }
  }
  return [...problems];
}

// From the checked fields of a config.json to a ModelConfig: defaults of the architecture filled in, the styles of files made
// one, relations between fields checked, all offenders reported at once.
import { PithError } from '@pith/tensor-core';
import { CONFIG_CAPS, type HfConfig } from './hf-config.ts';
import type {
  Activation,
  ExpertConfig,
  LatentAttentionConfig,
  ModelConfig,
  NormConfig,
  RopeConfig,
} from './model-config.ts';
import { readRope, ropeOf, type RopeDefaults, type RopeFacts } from './read-rope.ts';

/** Numbers that stand in where the file is silent. */
export interface ConfigNumbers {
  readonly vocab_size: number;
  readonly hidden_size: number;
  /** A function of the width where the class computes it. */
  readonly intermediate_size: number | ((hiddenSize: number) => number);
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  /** As many as attention heads where left out. */
  readonly num_key_value_heads?: number;
  /** Width by heads where left out. */
  readonly head_dim?: number;
  readonly max_position_embeddings: number;
  readonly norm_epsilon: number;
  readonly hidden_act: string;
  readonly bos_token_id: number | null;
  readonly eos_token_id: number | null;
  readonly tie_word_embeddings: boolean;
}

/** What an architecture is beside numbers; what is left out is as in Llama. */
export interface ArchitectureFacts {
  readonly kind?: ModelConfig['kind'];
  /** The norms but for their epsilon. */
  readonly norm?: Omit<NormConfig, 'epsilon'>;
  /** Made from the norms of the model. */
  readonly queryKeyNorm?: (norm: NormConfig) => ModelConfig['queryKeyNorm'];
  readonly residual?: ModelConfig['residual'];
  readonly biases?: ModelConfig['biases'];
  /** How activations are named in this architecture where that differs. */
  readonly activations?: Readonly<Record<string, Activation>>;
  /** Rotary embedding; null for none. Of all layers, or made for each. */
  readonly rope:
    | RopeDefaults
    | null
    | ((layer: number) => { readonly entry: ReturnType<typeof ropeOf>; readonly defaults: RopeDefaults } | null);
  readonly learnedPositions?: (maxPositions: number) => ModelConfig['learnedPositions'];
  readonly alibi?: ModelConfig['alibi'];
  readonly tokenTypes?: number;
  readonly embeddingSize?: number;
  /** Sliding window of a block; none when left out. */
  readonly window?: (layer: number) => number | null;
  readonly experts?: (layers: number, intermediateSize: number) => ExpertConfig;
  readonly attentionScale?: number;
  readonly attentionSoftCap?: number | null;
  readonly logitSoftCap?: number | null;
  readonly logitScale?: number;
  readonly embeddingScale?: (hiddenSize: number) => number;
  readonly residualScale?: number;
  /** Latent attention: heads are as long as it says, its rotated part is what the rope is made for. */
  readonly latentAttention?: LatentAttentionConfig;
  readonly nextTokenLayers?: number;
  readonly traits?: ModelConfig['traits'];
}

/** Experts that are chosen among all by the softmax of the router's products, none shared: Mixtral, Qwen3. */
export const PLAIN_ROUTING = Object.freeze({
  scoring: 'softmax',
  choiceBias: false,
  groups: 1,
  groupsPerToken: 1,
  groupScore: 'largest',
  weightScale: 1,
  shared: 0,
} as const);

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_fast: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  gelu_python_tanh: 'gelu-tanh',
};
const LAYER_TYPES = ['full_attention', 'sliding_attention'];

function tokenIds(value: HfConfig['eos_token_id'], otherwise: number | null): number[] {
  if (value === undefined) return otherwise === null ? [] : [otherwise];
  if (value === null) return [];
  return Array.isArray(value) ? value : [value];
}

/** Widths and counts, and how they must divide one another. */
function sizesOf(hf: HfConfig, numbers: ConfigNumbers, problems: string[]) {
  const hiddenSize = hf.hidden_size ?? numbers.hidden_size;
  const heads = hf.num_attention_heads ?? numbers.num_attention_heads;
  // null means "one for each head", a missing key the default of the architecture.
  const keyValueHeads =
    hf.num_key_value_heads ?? (hf.num_key_value_heads === null ? heads : (numbers.num_key_value_heads ?? heads));
  const givenDim = hf.head_dim ?? (hf.head_dim === null ? undefined : numbers.head_dim);
  if (givenDim === undefined && hiddenSize % heads !== 0) {
    problems.push(`hidden_size ${hiddenSize} must be a multiple of num_attention_heads ${heads}, or head_dim given`);
  }
  if (heads % keyValueHeads !== 0) {
    problems.push(`num_attention_heads ${heads} must be a multiple of num_key_value_heads ${keyValueHeads}`);
  }
  const { intermediate_size: wide } = numbers;
  return {
    vocabularySize: hf.vocab_size ?? numbers.vocab_size,
    hiddenSize,
    heads,
    keyValueHeads,
    headDim: givenDim ?? Math.max(1, Math.floor(hiddenSize / heads)),
    intermediateSize: hf.intermediate_size ?? (typeof wide === 'number' ? wide : wide(hiddenSize)),
    layers: hf.num_hidden_layers ?? numbers.num_hidden_layers,
    maxPositions: hf.max_position_embeddings ?? numbers.max_position_embeddings,
  };
}

function activationOf(
  hf: HfConfig,
  { hidden_act: otherwise }: ConfigNumbers,
  own: ArchitectureFacts['activations'],
  problems: string[],
): Activation {
  const known = { ...ACTIVATIONS, ...own };
  const name = hf.hidden_act ?? otherwise;
  if (Object.hasOwn(known, name)) return known[name];
  const names = Object.keys(known).join(', ');
  problems.push(`hidden_act must be one of ${names}, got ${JSON.stringify(name)}`);
  return 'silu';
}

function ropesOf(hf: HfConfig, { rope }: ArchitectureFacts, layers: number, facts: RopeFacts, problems: string[]) {
  const perLayer = typeof rope === 'function' ? rope : () => rope && { entry: ropeOf(hf), defaults: rope };
  const known = new Map<string, RopeConfig>();
  return Array.from({ length: layers }, (_, layer) => {
    const own = perLayer(layer);
    if (own === null) return null;
    const key = JSON.stringify(own);
    const made = known.get(key) ?? readRope(hf, own.entry, own.defaults, facts, problems);
    known.set(key, made);
    return made;
  });
}

function expertProblems({ count, perToken, layers, groups, groupsPerToken, groupScore }: ExpertConfig): string[] {
  const all = count * layers.filter(Boolean).length;
  const seen = (count / groups) * groupsPerToken;
  const divides = count % groups === 0;
  return [
    ...(perToken > count ? [`num_experts_per_tok must be at most the ${count} experts, got ${perToken}`] : []),
    ...(divides ? [] : [`the ${count} experts must be a multiple of n_group, got ${groups}`]),
    ...(groupsPerToken > groups ? [`topk_group must be at most n_group ${groups}, got ${groupsPerToken}`] : []),
    ...(divides && groups > 1 && groupScore === 'two-largest' && count < 2 * groups
      ? [`groups are chosen by their two best experts, got ${groups} groups of ${count} experts`]
      : []),
    ...(divides && perToken <= count && groupsPerToken <= groups && perToken > seen
      ? [`num_experts_per_tok must be at most the ${seen} experts of topk_group ${groupsPerToken}, got ${perToken}`]
      : []),
    ...(all > CONFIG_CAPS.layerExperts
      ? [`experts of all layers together must be at most ${CONFIG_CAPS.layerExperts}, got ${all}`]
      : []),
  ];
}

/**
 * Fills in defaults, merges the styles, checks relations.
 *
 * @returns Frozen.
 * @throws PithError `CONFIG_INVALID` with every problem.
 */
export function normalizeConfig(hf: HfConfig, numbers: ConfigNumbers, given: ArchitectureFacts): ModelConfig {
  const problems: string[] = [];
  const latentAttention = given.latentAttention ?? null;
  const sizes = sizesOf(hf, numbers, problems);
  const { layers, headDim, maxPositions, hiddenSize } = sizes;
  if (hf.layer_types) {
    const unknown = hf.layer_types.filter((type) => !LAYER_TYPES.includes(type));
    if (unknown.length > 0) problems.push(`layer_types may hold ${LAYER_TYPES.join(', ')}, got ${unknown[0]}`);
    if (hf.layer_types.length !== layers) {
      problems.push(`layer_types must have num_hidden_layers ${layers} entries, got ${hf.layer_types.length}`);
    }
  }
  const activation = activationOf(hf, numbers, given.activations, problems);
  const ropes = ropesOf(hf, given, layers, { headDim: latentAttention?.rotaryDim ?? headDim, maxPositions }, problems);
  const windows = Array.from({ length: layers }, (_, layer) => given.window?.(layer) ?? null);
  const experts = given.experts?.(layers, sizes.intermediateSize) ?? null;
  if (experts) problems.push(...expertProblems(experts));
  // A file may carry the key of the other kind as well.
  const kind = given.norm?.kind ?? 'rms';
  const normEpsilon = (kind === 'rms' ? hf.rms_norm_eps : hf.layer_norm_eps) ?? numbers.norm_epsilon;
  const norm = Object.freeze({
    ...(given.norm ?? { kind: 'rms', offset: 0, bias: false }),
    epsilon: normEpsilon,
  } as const);
  const learnedPositions = given.learnedPositions?.(maxPositions) ?? null;
  const alibi = given.alibi ?? null;
  // Where some layers have a window and a rope of their own, the rope of the model is that of the others.
  const rope = ropes.find((one, layer) => one !== null && windows[layer] === null) ?? ropes.find((one) => one !== null);
  // A base that grows with the text carries it beyond the positions of training.
  const stretched = rope?.scaling.kind === 'dynamic' ? Math.floor(maxPositions * rope.scaling.factor) : maxPositions;
  const config: ModelConfig = {
    modelType: hf.model_type,
    kind: given.kind ?? 'decoder',
    ...sizes,
    valueDim: latentAttention?.valueDim ?? headDim,
    latentAttention: latentAttention && Object.freeze(latentAttention),
    nextTokenLayers: given.nextTokenLayers ?? 0,
    maxPositions: stretched,
    embeddingSize: given.embeddingSize ?? hiddenSize,
    normEpsilon,
    norm,
    queryKeyNorm: given.queryKeyNorm ? Object.freeze(given.queryKeyNorm(norm)) : null,
    residual: given.residual ?? 'pre',
    activation,
    positions: learnedPositions ? 'learned' : alibi ? 'alibi' : rope ? 'rotary' : 'none',
    rope: rope ?? null,
    ropes: Object.freeze(ropes),
    learnedPositions: learnedPositions && Object.freeze(learnedPositions),
    alibi: alibi && Object.freeze(alibi),
    tokenTypes: given.tokenTypes ?? 0,
    windows: Object.freeze(windows),
    biases: Object.freeze(given.biases ?? { queryKeyValue: false, attentionOutput: false, feedForward: false }),
    experts: experts && Object.freeze(experts),
    attentionScale: given.attentionScale ?? 1 / Math.sqrt(headDim),
    attentionSoftCap: given.attentionSoftCap ?? null,
    logitSoftCap: given.logitSoftCap ?? null,
    logitScale: given.logitScale ?? 1,
    embeddingScale: given.embeddingScale?.(hiddenSize) ?? 1,
    residualScale: given.residualScale ?? 1,
    traits: Object.freeze(given.traits ?? {}),
    // null means no, a missing key the default of the architecture.
    tiedEmbeddings:
      hf.tie_word_embeddings === undefined ? numbers.tie_word_embeddings : hf.tie_word_embeddings === true,
    bosTokenId: tokenIds(hf.bos_token_id, numbers.bos_token_id)[0] ?? null,
    eosTokenIds: Object.freeze(tokenIds(hf.eos_token_id, numbers.eos_token_id)),
    storedDType: hf.dtype ?? hf.torch_dtype ?? null,
  };
  if (problems.length > 0) {
    throw new PithError('CONFIG_INVALID', `read config: ${problems.join('; ')}`, { details: { problems } });
  }
  return Object.freeze(config);
}

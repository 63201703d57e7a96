// The named mixtures of llama.cpp: which type each tensor of a file gets. The same choices as llama-quantize makes
// (src/llama-quant.cpp, `llama_tensor_get_type_impl` and `tensor_type_fallback`), tied embeddings, importance matrix and
// awkward widths included. Held to what llama-quantize picks at seven model shapes.
import { GGML_TYPES } from '@pith/checkpoint';
import type { GgmlWritableType } from './ggml-types.ts';
import {
  chooseIq3Query,
  chooseIq3Value,
  chooseIqEmbedding,
  chooseIqOutput,
  chooseOfFewBits,
  isOfFewBits,
} from './mixtures-iq.ts';

/** A file type of llama.cpp. */
export interface Mixture {
  /** Name on the command line: `q4_k_m`. */
  readonly name: string;
  /** `general.file_type`. */
  readonly fileType: number;
  /** The type of most tensors. */
  readonly base: GgmlWritableType;
  /** One type for all matrices, whatever they do (`mxfp4`); not a choice of llama-quantize. */
  readonly pure?: boolean;
}

const mixture = (name: string, fileType: number, base: GgmlWritableType): Mixture => ({ name, fileType, base });

/** Every mixture, the most usual ones first. */
export const MIXTURES: readonly Mixture[] = [
  mixture('q4_k_m', 15, 'q4_k'),
  mixture('q8_0', 7, 'q8_0'),
  mixture('f16', 1, 'f16'),
  mixture('bf16', 32, 'bf16'),
  mixture('f32', 0, 'f32'),
  mixture('q2_k', 10, 'q2_k'),
  mixture('q2_k_s', 21, 'q2_k'),
  mixture('q3_k_s', 11, 'q3_k'),
  mixture('q3_k_m', 12, 'q3_k'),
  mixture('q3_k_l', 13, 'q3_k'),
  mixture('q4_k_s', 14, 'q4_k'),
  mixture('q5_k_s', 16, 'q5_k'),
  mixture('q5_k_m', 17, 'q5_k'),
  mixture('q6_k', 18, 'q6_k'),
  mixture('q4_0', 2, 'q4_0'),
  mixture('q4_1', 3, 'q4_1'),
  mixture('q5_0', 8, 'q5_0'),
  mixture('q5_1', 9, 'q5_1'),
  mixture('iq4_nl', 25, 'iq4_nl'),
  mixture('iq4_xs', 30, 'iq4_xs'),
  mixture('iq3_xxs', 23, 'iq3_xxs'),
  mixture('iq3_xs', 22, 'iq3_s'),
  mixture('iq3_s', 26, 'iq3_s'),
  mixture('iq3_m', 27, 'iq3_s'),
  mixture('iq2_xxs', 19, 'iq2_xxs'),
  mixture('iq2_xs', 20, 'iq2_xs'),
  mixture('iq2_s', 28, 'iq2_xs'),
  mixture('iq2_m', 29, 'iq2_s'),
  mixture('iq1_s', 24, 'iq1_s'),
  mixture('iq1_m', 31, 'iq1_m'),
  mixture('tq1_0', 36, 'tq1_0'),
  mixture('tq2_0', 37, 'tq2_0'),
  mixture('mxfp4_moe', 38, 'mxfp4'),
  { ...mixture('mxfp4', 38, 'mxfp4'), pure: true },
];

/** Short names that llama-quantize takes, too. */
const ALIASES: Readonly<Record<string, string>> = { q3_k: 'q3_k_m', q4_k: 'q4_k_m', q5_k: 'q5_k_m' };

/** The mixture of a name, or undefined. */
export function mixtureOf(name: string): Mixture | undefined {
  const wanted = ALIASES[name] ?? name;
  return MIXTURES.find((one) => one.name === wanted);
}

/** Facts of a model that the choice depends on. */
export interface MixtureModel {
  /** `general.architecture`. */
  readonly architecture: string;
  /** Blocks. */
  readonly layers: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads. */
  readonly keyValueHeads: number;
  /** Experts of a block; 0 for none. */
  readonly experts: number;
}

/** A tensor to choose a type for. */
export interface MixtureTensor {
  /** Name in the file. */
  readonly name: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
}

/** What was chosen for a tensor. */
export interface ChosenType {
  /** The type. */
  readonly type: GgmlWritableType;
  /** What it would have been if its blocks divided the columns; null where they do. */
  readonly insteadOf: GgmlWritableType | null;
}

/** Matrices that are small or sensitive and keep full precision, by parts of their names. */
const KEPT = ['_norm.weight', 'ffn_gate_inp.weight'];
const KEPT_WHOLE = ['position_embd.weight', 'token_types.weight'];

/** True for a tensor that a mixture quantizes. */
export function isMixed({ name, shape }: MixtureTensor): boolean {
  if (shape.length < 2 || !name.endsWith('weight')) return false;
  return !KEPT.some((part) => name.includes(part)) && !KEPT_WHOLE.includes(name);
}

/**
 * A type for each tensor, by name; tensors that a mixture leaves alone are not among them.
 *
 * @param hasImportance whether an importance matrix is used: a few choices depend on it.
 */
export function chooseTypes(
  mixture: Mixture,
  tensors: readonly MixtureTensor[],
  model: MixtureModel,
  hasImportance: boolean,
): Map<string, ChosenType> {
  const chosen = new Map<string, ChosenType>();
  const mixed = tensors.filter(isMixed).sort((a, b) => byLayer(a.name, b.name));
  const facts: Facts = {
    ...model,
    mixture,
    hasImportance,
    tied: !tensors.some(({ name }) => name === 'output.weight'),
    valueTensors: mixed.filter(({ name }) => isValueLike(name)).length,
  };
  const seen = { values: 0, down: 0, gate: 0, up: 0 };
  for (const tensor of mixed) {
    const columns = tensor.shape.at(-1)!;
    const { base } = mixture;
    // Plain numbers are no mixture.
    if (GGML_TYPES[base].blockSize === 1) {
      chosen.set(tensor.name, { type: base, insteadOf: null });
      continue;
    }
    const wanted = choose(tensor, facts, seen);
    const type = fitting(wanted, columns);
    chosen.set(tensor.name, { type, insteadOf: type === wanted ? null : wanted });
  }
  return chosen;
}

/** What llama-quantize does where blocks do not divide the columns. */
function fitting(type: GgmlWritableType, columns: number): GgmlWritableType {
  const divides = (one: GgmlWritableType): boolean => columns % GGML_TYPES[one].blockSize === 0;
  if (divides(type)) return type;
  const smaller = FALLBACK[type];
  return smaller !== undefined && divides(smaller) ? smaller : 'f16';
}

const FALLBACK: Readonly<Partial<Record<GgmlWritableType, GgmlWritableType>>> = {
  iq1_s: 'iq4_nl',
  iq1_m: 'iq4_nl',
  iq2_xxs: 'iq4_nl',
  iq2_xs: 'iq4_nl',
  iq2_s: 'iq4_nl',
  iq3_xxs: 'iq4_nl',
  iq3_s: 'iq4_nl',
  iq4_xs: 'iq4_nl',
  q2_k: 'q4_0',
  q3_k: 'q4_0',
  tq1_0: 'q4_0',
  tq2_0: 'q4_0',
  q4_k: 'q5_0',
  q5_k: 'q5_1',
  q6_k: 'q8_0',
};

interface Facts extends MixtureModel {
  readonly mixture: Mixture;
  readonly hasImportance: boolean;
  readonly tied: boolean;
  /** Tensors that count as values: `attn_v`, `attn_qkv`. */
  readonly valueTensors: number;
}

/** llama-quantize goes through the tensors by block, and by name within one. */
function byLayer(a: string, b: string): number {
  const layer = (name: string): number => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
  return layer(a) - layer(b) || (a < b ? -1 : a > b ? 1 : 0);
}

function isValueLike(name: string): boolean {
  return ['attn_qkv.weight', 'attn_kv_b.weight', 'attn_v.weight'].some((part) => name.includes(part));
}

/** Blocks that count more: the first and last eighth, and every third between. */
function moreBits(index: number, count: number): boolean {
  const eighth = Math.floor(count / 8);
  return index < eighth || index >= Math.floor((7 * count) / 8) || (index - eighth) % 3 === 2;
}

function choose(
  { name, shape }: MixtureTensor,
  facts: Facts,
  seen: { values: number; down: number; gate: number; up: number },
): GgmlWritableType {
  const { mixture, architecture, tied } = facts;
  const { base, name: kind } = mixture;
  const isOutput = name === 'output.weight' || (tied && name === 'token_embd.weight');
  if (isOutput) {
    if (kind === 'mxfp4_moe' || mixture.pure) return 'q8_0';
    if (architecture === 'falcon' || shape.at(-1)! % GGML_TYPES[base].blockSize !== 0) return 'q8_0';
    return base === 'q8_0' ? base : chooseIqOutput(kind);
  }
  if (mixture.pure) return base;
  if (kind === 'mxfp4_moe') return shape.length > 2 && shape[0]! > 1 ? 'mxfp4' : 'q8_0';
  if (name === 'token_embd.weight') {
    return kind === 'tq1_0' || kind === 'tq2_0' ? 'q4_k' : chooseIqEmbedding(kind, base);
  }
  if (isOfFewBits(kind)) {
    const first = name.includes('ffn_down') && seen.down++ < Math.floor(facts.layers / 8);
    const { experts } = facts;
    return chooseOfFewBits(kind, { name, isValue: isValueLike(name), base, grouped: isGrouped(facts), experts, first });
  }
  /** Experts lie by their blocks. */
  const layer = (counted: number): number =>
    facts.experts > 1 ? Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? counted) : counted;
  if (isValueLike(name)) return chooseValue(facts, seen.values++);
  if (name.includes('attn_k.weight')) return facts.experts === 8 ? 'q8_0' : chooseIq3Query(kind, base);
  if (name.includes('attn_q.weight')) return chooseIq3Query(kind, base);
  if (name.includes('ffn_down')) return chooseDown(facts, layer(seen.down++));
  if (name.includes('ffn_up')) return chooseUp(facts, layer(seen.up++));
  if (name.includes('ffn_gate')) return chooseUp(facts, layer(seen.gate++));
  if (name.includes('attn_output.weight')) return chooseAttentionOutput(facts);
  return base;
}

/** Four or more query heads share a key. */
function isGrouped({ heads, keyValueHeads }: Facts): boolean {
  return Math.floor(heads / Math.max(1, keyValueHeads)) >= 4;
}

/** Gates and up projections: IQ3_XS spends less on those of the middle blocks. */
function chooseUp({ mixture: { name, base }, layers }: Facts, at: number): GgmlWritableType {
  const middle = at >= Math.floor(layers / 8) && at < Math.floor((7 * layers) / 8);
  return name === 'iq3_xs' && middle ? 'iq3_xxs' : base;
}

function chooseValue(facts: Facts, at: number): GgmlWritableType {
  const { mixture, layers, heads, keyValueHeads, experts, architecture, valueTensors } = facts;
  const { base, name: kind } = mixture;
  const grouped = isGrouped(facts);
  let type: GgmlWritableType = base;
  if (kind === 'q2_k') type = grouped ? 'q4_k' : 'q3_k';
  else if (kind === 'q2_k_s' && grouped) type = 'q4_k';
  else if (kind.startsWith('iq3')) type = chooseIq3Value(kind, base, grouped, facts.hasImportance);
  else if (kind === 'q3_k_m') type = at < 2 ? 'q5_k' : 'q4_k';
  else if (kind === 'q3_k_l') type = 'q5_k';
  else if ((kind === 'iq4_nl' || kind === 'iq4_xs') && grouped) type = 'q5_k';
  else if ((kind === 'q4_k_m' || kind === 'q5_k_m') && moreBits(at, valueTensors)) type = 'q6_k';
  else if (kind === 'q4_k_s' && at < 4) type = 'q5_k';
  // What llama.cpp calls a 70B: its values are an eighth of the queries.
  const is70B = ['llama', 'qwen2'].includes(architecture) && layers === 80 && heads !== keyValueHeads;
  if (is70B && (type === 'q3_k' || type === 'q4_k')) type = 'q5_k';
  return experts === 8 ? 'q8_0' : type;
}

function chooseDown({ mixture, layers, architecture, experts, hasImportance }: Facts, at: number): GgmlWritableType {
  const { base, name: kind } = mixture;
  const falcon = architecture === 'falcon';
  const first = at < Math.floor(layers / 8);
  const more = moreBits(at, layers);
  const start = at < Math.floor(layers / 16);
  switch (kind) {
    case 'q2_k':
      return 'q3_k';
    case 'q2_k_s':
      return first ? 'q4_k' : base;
    case 'iq3_xxs':
      return hasImportance ? base : first ? 'q4_k' : 'q3_k';
    case 'iq3_m':
      return first || (experts === 8 && more) ? 'q4_k' : base;
    case 'q3_k_m':
      return start ? 'q5_k' : !falcon || more ? 'q4_k' : 'q3_k';
    case 'q3_k_l':
      return falcon ? 'q4_k' : 'q5_k';
    case 'q4_k_m':
      if (falcon) return start ? 'q6_k' : more ? 'q5_k' : 'q4_k';
      return more ? 'q6_k' : base;
    case 'iq4_nl':
    case 'iq4_xs':
      return first && !hasImportance ? 'q5_k' : base;
    case 'q5_k_m':
      return more ? 'q6_k' : base;
    case 'q4_k_s':
      return first && !falcon ? 'q5_k' : base;
    case 'q4_0':
      return first && hasImportance ? 'q4_1' : base;
    case 'q5_0':
      return first && hasImportance ? 'q5_1' : base;
    default:
      return base;
  }
}

const EIGHT_EXPERTS = [
  ...['q2_k', 'q3_k_s', 'q3_k_m', 'iq4_nl', 'q4_k_s', 'q4_k_m', 'iq4_xs'],
  ...['iq3_xxs', 'iq3_xs', 'iq3_s', 'iq3_m'],
];

function chooseAttentionOutput({ mixture, architecture, experts }: Facts): GgmlWritableType {
  const { base, name: kind } = mixture;
  if (architecture === 'falcon') return kind === 'q3_k_l' ? 'q4_k' : base;
  if (experts === 8) return EIGHT_EXPERTS.includes(kind) ? 'q5_k' : base;
  if (kind === 'q2_k') return 'q3_k';
  if (kind === 'q3_k_m' || kind === 'iq3_m') return 'q4_k';
  if (kind === 'iq3_xxs') return 'iq3_s';
  return kind === 'q3_k_l' ? 'q5_k' : base;
}

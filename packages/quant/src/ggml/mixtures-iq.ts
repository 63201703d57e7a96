// What llama-quantize picks in the mixtures that are made of IQ1, IQ2 and IQ3 (src/llama-quant.cpp, `llama_tensor_get_type_impl`): these
// types for most tensors, larger ones where little room buys much.
import type { GgmlWritableType } from './ggml-types.ts';

/** Facts of a tensor that the choice depends on. */
export interface IqTensor {
  /** Name in the file. */
  readonly name: string;
  /** True for `attn_v` and what counts as it. */
  readonly isValue: boolean;
  /** The type of most tensors of the mixture. */
  readonly base: GgmlWritableType;
  /** Four or more query heads share a key. */
  readonly grouped: boolean;
  /** Experts of a block; 0 for none. */
  readonly experts: number;
  /** True for the first eighth of the matrices of this place. */
  readonly first: boolean;
}

const FEW_BITS = ['iq2_xxs', 'iq2_xs', 'iq2_s', 'iq2_m', 'iq1_s', 'iq1_m'];

/** True for mixtures whose tensors are chosen by {@link chooseOfFewBits}. */
export function isOfFewBits(kind: string): boolean {
  return FEW_BITS.includes(kind);
}

/** The output of these mixtures, or the embedding where it is the output. */
export function chooseIqOutput(kind: string): GgmlWritableType {
  return isOfFewBits(kind) || kind === 'iq3_xxs' ? 'q5_k' : 'q6_k';
}

/** The embedding. */
export function chooseIqEmbedding(kind: string, base: GgmlWritableType): GgmlWritableType {
  if (['iq2_xxs', 'iq2_xs', 'iq1_s', 'iq1_m'].includes(kind)) return 'q2_k';
  return kind === 'iq2_s' || kind === 'iq2_m' || kind === 'iq3_xxs' ? 'iq3_s' : base;
}

/** A matrix of a block in a mixture of one or two bits. */
export function chooseOfFewBits(
  kind: string,
  { name, isValue, base, grouped, experts, first }: IqTensor,
): GgmlWritableType {
  const larger = kind === 'iq2_s' || kind === 'iq2_m' ? 'iq3_s' : 'q2_k';
  if (isValue) return grouped || experts >= 4 ? 'q4_k' : larger;
  if (name.includes('attn_k.weight')) return experts === 8 ? 'q4_k' : base;
  if (name.includes('ffn_down')) return first ? larger : base;
  if (!name.includes('attn_output.weight')) return base;
  if (experts === 8) return 'q5_k';
  if (larger === 'iq3_s') return larger;
  return kind === 'iq1_s' || kind === 'iq1_m' ? 'iq2_xxs' : base;
}

/** Values in a mixture of three bits. */
export function chooseIq3Value(
  kind: string,
  base: GgmlWritableType,
  grouped: boolean,
  hasImportance: boolean,
): GgmlWritableType {
  if (kind === 'iq3_m' || grouped) return 'q4_k';
  return kind === 'iq3_xxs' && !hasImportance ? 'iq3_s' : base;
}

/** Queries and keys in a mixture of three bits. */
export function chooseIq3Query(kind: string, base: GgmlWritableType): GgmlWritableType {
  if (kind === 'iq3_xs') return 'iq3_xxs';
  return kind === 'iq3_xxs' ? 'iq2_s' : base;
}

const CANNOT_DO_WITHOUT: readonly GgmlWritableType[] = ['iq3_xxs', 'iq2_xxs', 'iq2_xs', 'iq2_s', 'iq1_m', 'iq1_s'];

/**
 * True where llama-quantize refuses a tensor that has no importances: those of few bits, the embedding and the output excepted. ggml itself
 * does without for some of them.
 */
export function mixtureNeedsImportance(name: string, type: GgmlWritableType): boolean {
  return name !== 'token_embd.weight' && name !== 'output.weight' && CANNOT_DO_WITHOUT.includes(type);
}

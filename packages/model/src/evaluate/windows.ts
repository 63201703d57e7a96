// The windows of an evaluation, by one protocol for every number that this package reports (`describeProtocol`).
import { PithError } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';

/** How a perplexity was measured. */
export interface EvaluationProtocol {
  /** The whole text is tokenized once; BOS is a token of it where it comes first. */
  readonly tokenization: 'whole text once, no special tokens' | 'whole text once, BOS first';
  /** Positions of a window: BOS and `context - 1` tokens of the text. */
  readonly context: number;
  /** Token that opens each window. */
  readonly bosTokenId: number;
  /** Tokens of the text from one window to the next: windows do not overlap. */
  readonly stride: number;
  /** Position of the first token of a window that is predicted: 1 for all but BOS. Those before it are context alone. */
  readonly firstPredicted: number;
  /** Tokens that are predicted in each window: from `firstPredicted` to its end. */
  readonly predictedPerWindow: number;
  /** What happens to the tokens that do not fill a window. */
  readonly tail: 'dropped';
  /** Logits and log-sums in f32, sums over tokens in f64. */
  readonly precision: 'f32, summed in f64';
  /** Whether inputs of linears were rounded to 8 bits and restored, as a runtime would: where the weights ask for it. */
  readonly activations: 'f32' | 'quantized';
  /** What kept keys and values were rounded to and restored from, as a runtime would: where the model asks for it. */
  readonly keyValues?: 'f8_e4m3' | 'i8';
}

/** Text cut into windows. */
export interface EvaluationWindows {
  /** int32 [context] each: BOS, then `context - 1` tokens of the text. */
  readonly windows: readonly Int32Array[];
  /** Tokens of the text. */
  readonly textTokens: number;
  /** Tokens at the end of the text that no window holds, those beyond `maxWindows` included. */
  readonly droppedTokens: number;
  /** How the text was cut. */
  readonly protocol: EvaluationProtocol;
}

/**
 * How a text is cut. `windows`: BOS and the next `context - 1` tokens, all of which are predicted. `llama.cpp`: as llama-perplexity
 * does, BOS and the text in pieces of `context` tokens, the first of each replaced by BOS, of which the second half is predicted.
 */
export type ProtocolName = 'windows' | 'llama.cpp';

/** Windows of a text, see {@link cutWindows}. */
export interface WindowOptions {
  /** Positions of a window, BOS included; 512 when left out. */
  readonly context?: number;
  /** `windows` when left out. */
  readonly protocol?: ProtocolName;
  /** Uses only the first windows of the text. */
  readonly maxWindows?: number;
  /** Opens the messages of errors; `evaluate` when left out. */
  readonly operation?: string;
}

/** Positions of a window where none are given. */
export const DEFAULT_CONTEXT = 512;

/**
 * Tokens of a text by the model's tokenizer, without special tokens.
 *
 * @throws PithError `TOKENIZER_MISSING`.
 */
export function tokensOf(model: LanguageModel, text: string, operation = 'evaluate'): Int32Array {
  if (model.tokenizer) return model.tokenizer.encode(text);
  throw new PithError(
    'TOKENIZER_MISSING',
    `${operation}: needs a tokenizer, the checkpoint has no tokenizer.json; give token ids`,
  );
}

/**
 * Refuses ids that the model has no embedding for.
 *
 * @throws PithError `TOKEN_OUT_OF_RANGE`.
 */
export function checkIds(ids: Int32Array, vocabularySize: number, operation = 'evaluate'): void {
  const index = ids.findIndex((id) => id < 0 || id >= vocabularySize);
  if (index < 0) return;
  throw new PithError(
    'TOKEN_OUT_OF_RANGE',
    `${operation}: token ids must be below the vocabulary size ${vocabularySize}, got ${ids[index]} at token ${index}; ` +
      'does the tokenizer belong to this model?',
    { details: { index, id: ids[index], vocabularySize } },
  );
}

/** What an encoder's tokenizer opens texts with ([CLS]): configs of encoders name no BOS. Null for decoders. */
function openingToken({ config, tokenizer }: LanguageModel): number | null {
  return config.kind === 'encoder' ? (tokenizer?.encodeWithSpecial('').ids[0] ?? null) : null;
}

/**
 * Cuts tokens into windows without overlap, the incomplete tail dropped: BOS and the next `context - 1` tokens each, or as
 * {@link ProtocolName} says.
 *
 * @param ids Tokens of the whole text, without BOS.
 * @throws PithError `EVALUATION_OPTIONS` for a context below 2 or beyond the model's positions, `BOS_MISSING` when the
 * config names no BOS (of an encoder, when its tokenizer opens texts with no token either), `TOKEN_OUT_OF_RANGE`, `TEXT_TOO_SHORT` when the tokens do not fill one window.
 */
export function cutWindows(
  model: LanguageModel,
  ids: Int32Array,
  { context = DEFAULT_CONTEXT, protocol = 'windows', maxWindows = Infinity, operation = 'evaluate' }: WindowOptions,
): EvaluationWindows {
  const { maxPositions, vocabularySize } = model.config;
  const bosTokenId = model.config.bosTokenId ?? openingToken(model);
  const refuse = (code: string, message: string, details: Record<string, unknown>): never => {
    throw new PithError(code, `${operation}: ${message}`, { details });
  };
  const pieces = protocol === 'llama.cpp';
  // Half a window is predicted: a token at least.
  const least = pieces ? 3 : 2;
  if (!Number.isInteger(context) || context < least || context > maxPositions) {
    refuse(
      'EVALUATION_OPTIONS',
      `context must be ${least} to ${maxPositions} (positions of the model), got ${context}`,
      {
        context,
        maxPositions,
      },
    );
  }
  if (!(maxWindows >= 1))
    refuse('EVALUATION_OPTIONS', `maxWindows must be at least 1, got ${maxWindows}`, { maxWindows });
  if (bosTokenId === null) {
    throw new PithError(
      'BOS_MISSING',
      `${operation}: every window opens with BOS, config.json has no bos_token_id; add one`,
    );
  }
  checkIds(Int32Array.of(bosTokenId), vocabularySize, operation);
  checkIds(ids, vocabularySize, operation);
  const stride = pieces ? context : context - 1;
  // BOS is the first token of the first piece.
  const shift = pieces ? 1 : 0;
  const count = Math.min(Math.floor((ids.length + shift) / stride), Math.floor(maxWindows));
  if (count === 0) {
    refuse('TEXT_TOO_SHORT', `needs at least ${stride - shift} tokens for a context of ${context}, got ${ids.length}`, {
      tokens: ids.length,
      context,
    });
  }
  const windows = Array.from({ length: count }, (_, i) => {
    const window = new Int32Array(context);
    window[0] = bosTokenId;
    window.set(ids.subarray((i + 1) * stride - shift - (context - 1), (i + 1) * stride - shift), 1);
    return window;
  });
  const firstPredicted = pieces ? Math.floor(context / 2) + 1 : 1;
  return Object.freeze({
    windows,
    textTokens: ids.length,
    droppedTokens: ids.length + shift - count * stride,
    protocol: Object.freeze({
      tokenization: pieces ? 'whole text once, BOS first' : 'whole text once, no special tokens',
      context,
      bosTokenId,
      stride,
      firstPredicted,
      predictedPerWindow: context - firstPredicted,
      tail: 'dropped',
      precision: 'f32, summed in f64',
      activations: 'f32',
    }),
  });
}

/** A protocol in one sentence. */
export function describeProtocol(protocol: EvaluationProtocol): string {
  const { context, bosTokenId, stride, firstPredicted, predictedPerWindow, activations, keyValues } = protocol;
  const rounded =
    (activations === 'quantized' ? '; inputs of linears rounded as the weights ask of a runtime' : '') +
    (keyValues === undefined ? '' : `; keys and values rounded to ${keyValues} as the model asks of a runtime`);
  if (firstPredicted > 1) {
    return (
      `whole text tokenized once, BOS ${bosTokenId} before it, cut into pieces of ${context} tokens, the first of each replaced by BOS, ` +
      `incomplete tail dropped; mean negative log-likelihood of the last ${predictedPerWindow} tokens of each piece${rounded}`
    );
  }
  return (
    `whole text tokenized once without special tokens, cut into windows of ${context} positions (BOS ${bosTokenId} and ` +
    `${stride} tokens), no overlap, incomplete tail dropped; mean negative log-likelihood of all ${stride} tokens of each window${rounded}`
  );
}

/**
 * Refuses a mean negative log-likelihood that is no number.
 *
 * @throws PithError `LOGITS_NOT_FINITE`.
 */
export function checkFinite(nll: number, operation: string, whose: string): void {
  if (Number.isFinite(nll)) return;
  throw new PithError(
    'LOGITS_NOT_FINITE',
    `${operation}: the logits of ${whose} must be finite, got a mean negative log-likelihood of ${nll}; ` +
      'look for NaN or infinite values in its weights',
    { details: { model: whose, nll: String(nll) } },
  );
}

// Text from a model.
import { PithError, randomStream } from '@pith/tensor-core';
import type { Device, RunOptions } from '@pith/tensor-core';
import * as z from 'zod';
import { checkIds, tokensOf } from '../evaluate/windows.ts';
import { requireCausal } from '../evaluate/require-head.ts';
import type { LanguageModel } from '../language-model.ts';
import { DEFAULT_MEMORY_BYTES } from '../run/memory-plan.ts';
import { PhaseClock } from '../run/phase-clock.ts';
import { Decoder } from './decoder.ts';
import { sampleToken } from './sample.ts';

const settings = z.strictObject({
  maxTokens: z.number().int().min(1).default(128),
  temperature: z.number().min(0).default(0),
  topP: z.number().gt(0).max(1).default(1),
  seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
});

/** A new token, as the callback of {@link generate} sees it. */
export interface GeneratedToken {
  /** Token id. */
  readonly id: number;
  /** Counted from 0 among the new tokens. */
  readonly index: number;
  /** Text that became certain with this token; empty in the middle of a character or without a tokenizer. */
  readonly text: string;
}

/** Options of {@link generate}. */
export interface GenerateOptions extends RunOptions {
  /** Where the compiled programs run. */
  readonly device: Device;
  /** Text to continue; BOS is put before it, where the model has one. Either this or `ids`. */
  readonly prompt?: string;
  /** Token ids to continue, as they are. */
  readonly ids?: ArrayLike<number>;
  /** Most new tokens; 128 when left out. */
  readonly maxTokens?: number;
  /** Divides the logits; 0, when left out, takes the most likely token each time. */
  readonly temperature?: number;
  /** Draws from the most likely tokens whose shares add up to this; 1 when left out. */
  readonly topP?: number;
  /** Seed of the draws; 0 when left out. The same seed gives the same text. */
  readonly seed?: number;
  /** Tokens that end the text; the model's own when left out, `[]` for none. */
  readonly stopTokenIds?: readonly number[];
  /** Memory for weights, cache and programs, bytes; 3 GiB when left out. Weights that do not fit are read at each step. */
  readonly memoryLimitBytes?: number;
  /** Called with each token as it is made. */
  readonly onToken?: (token: GeneratedToken) => void;
}

/** Outcome of {@link generate}. */
export interface GenerateResult {
  /** Ids that were continued. */
  readonly promptIds: Int32Array;
  /** New ids, without the one that ended the text. */
  readonly ids: Int32Array;
  /** Text of the new ids, as it follows that of the prompt; null without a tokenizer. */
  readonly text: string | null;
  /** `stop`: a stop token came; `length`: `maxTokens` were made; `context`: the model has no more positions. */
  readonly finish: 'stop' | 'length' | 'context';
  /** The token that ended the text; null for none. */
  readonly stopTokenId: number | null;
  /** Wall time. */
  readonly seconds: number;
  /** New tokens per second, the time for the prompt left out. */
  readonly tokensPerSecond: number;
  /** Seconds by phase: `compile`, `embed`, `restore`, `blocks`, `head`, `other`. */
  readonly phases: Readonly<Record<string, number>>;
}

function promptOf(model: LanguageModel, { prompt, ids }: GenerateOptions): Int32Array {
  const refuse = (message: string): never => {
    throw new PithError('GENERATE_OPTIONS', `generate: ${message}`);
  };
  if ((prompt === undefined) === (ids === undefined)) refuse('needs either a prompt or ids, got both or neither');
  const { bosTokenId, vocabularySize } = model.config;
  const bos = bosTokenId === null ? [] : [bosTokenId];
  const tokens = ids ? Int32Array.from(ids) : Int32Array.of(...bos, ...tokensOf(model, prompt!));
  if (tokens.length === 0) refuse('needs at least one token to continue, got none');
  checkIds(tokens, vocabularySize);
  return tokens;
}

/** Text of the new tokens as it follows the prompt's, without a character whose bytes are not all there yet. */
function continuation(model: LanguageModel, promptIds: Int32Array, ids: readonly number[], complete: boolean): string {
  const { tokenizer } = model;
  if (!tokenizer) return '';
  const before = tokenizer.decode(promptIds, { skipSpecial: true });
  const all = tokenizer.decode([...promptIds, ...ids], { skipSpecial: true });
  // The end of a prompt may be half a character: then the texts do not line up, and the new ids stand for themselves.
  const text = all.startsWith(before) ? all.slice(before.length) : tokenizer.decode(ids, { skipSpecial: true });
  return complete ? text : text.replace(/\uFFFD+$/u, '');
}

/**
 * Continues a text.
 *
 * @throws PithError `GENERATE_OPTIONS`, `CONTEXT_FULL` when the prompt leaves no position free, `TOKENIZER_MISSING`,
 * `TOKEN_OUT_OF_RANGE`, `MEMORY_LIMIT`, `STOPPED`.
 */
export async function generate(model: LanguageModel, options: GenerateOptions): Promise<GenerateResult> {
  const { maxTokens, temperature, topP, seed } = options;
  const given = Object.entries({ maxTokens, temperature, topP, seed }).filter(([, value]) => value !== undefined);
  const checked = settings.safeParse(Object.fromEntries(given));
  if (!checked.success) {
    throw new PithError('GENERATE_OPTIONS', `generate: ${z.prettifyError(checked.error)}`, {
      details: { maxTokens, temperature, topP, seed },
    });
  }
  requireCausal(model, 'generate');
  const config = checked.data;
  const promptIds = promptOf(model, options);
  const { maxPositions } = model.config;
  if (promptIds.length >= maxPositions) {
    throw new PithError(
      'CONTEXT_FULL',
      `generate: the prompt must leave a position free of the model's ${maxPositions}, got ${promptIds.length} tokens; ` +
        'shorten it',
      { details: { tokens: promptIds.length, maxPositions } },
    );
  }
  const { device, signal, progress, memoryLimitBytes = DEFAULT_MEMORY_BYTES } = options;
  const stops = new Set(options.stopTokenIds ?? model.stopTokenIds);
  const capacity = Math.min(promptIds.length + config.maxTokens, maxPositions);
  const most = capacity - promptIds.length;
  const random = randomStream(config.seed, 'generate');
  const clock = new PhaseClock();
  const decoder = new Decoder(model, {
    ...{ device, capacity, promptTokens: promptIds.length, memoryLimitBytes, clock },
    ...(signal && { signal }),
  });
  const ids: number[] = [];
  let told = 0;
  let stopTokenId: number | null = null;
  let decodingFrom = 0;
  try {
    let next = promptIds;
    while (ids.length < most) {
      const logits = await decoder.advance(next);
      if (ids.length === 0) decodingFrom = clock.total();
      const id = sampleToken(logits, config, random);
      if (stops.has(id)) {
        stopTokenId = id;
        break;
      }
      ids.push(id);
      if (options.onToken) {
        const text = continuation(model, promptIds, ids, ids.length === most);
        options.onToken({ id, index: ids.length - 1, text: text.slice(told) });
        told = Math.max(told, text.length);
      }
      progress?.({ phase: 'generate', done: ids.length, total: most, unit: 'token' });
      next = Int32Array.of(id);
    }
  } finally {
    await decoder.dispose();
  }
  const seconds = clock.total();
  const limited = config.maxTokens > most ? ('context' as const) : ('length' as const);
  return {
    promptIds,
    ids: Int32Array.from(ids),
    text: model.tokenizer ? continuation(model, promptIds, ids, true) : null,
    finish: stopTokenId === null ? limited : 'stop',
    stopTokenId,
    seconds,
    tokensPerSecond: Math.max(0, ids.length - 1) / Math.max(seconds - decodingFrom, 1e-9),
    phases: clock.phases(),
  };
}

// A look at what is left: text from a checkpoint.
import { generate as generateFrom } from '@pith/model';
import { openModel } from '@pith/model/node';
import type { RunOptions } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { localModel } from '../source/locate-model.ts';

/** What {@link generate} is asked for. */
export interface GenerateOptions extends RunOptions {
  /** Text to continue; may be empty. */
  readonly prompt: string;
  /** Most new tokens; 64 when left out. */
  readonly maxTokens?: number;
  /** 0, when left out, takes the most likely token each time. */
  readonly temperature?: number;
  /** Draws from the most likely tokens whose shares add up to this; 1 when left out. */
  readonly topP?: number;
  /** Seed of the draws; 0 when left out. Equal seeds give equal texts. */
  readonly seed?: number;
  /** Threads; one for each processor when left out. */
  readonly threads?: number;
  /** Memory that may be used, in bytes; 3 GiB when left out. */
  readonly memoryBytes?: number;
  /** Receives text as it becomes certain. */
  readonly onText?: (text: string) => void;
}

/** What {@link generate} has made. */
export interface GenerateResult {
  /** Text that was continued. */
  readonly prompt: string;
  /** Text that follows the prompt. */
  readonly text: string;
  /** Ids of the new tokens. */
  readonly ids: readonly number[];
  /** New tokens. */
  readonly tokens: number;
  /** `stop`: a stop token came; `length`: `maxTokens` were made; `context`: the model has no more positions. */
  readonly finish: 'stop' | 'length' | 'context';
  /** Wall time, loading included. */
  readonly seconds: number;
  /** New tokens a second, the time for the prompt left out. */
  readonly tokensPerSecond: number;
}

const DEFAULT_TOKENS = 64;

/**
 * Continues a text.
 *
 * @param model directory of a checkpoint, dense or quantized, with tokenizer.json.
 * @throws PithError `TOKENIZER_MISSING`, `CONTEXT_FULL`, `MEMORY_LIMIT`, `STOPPED`, and those of opening a checkpoint.
 */
export async function generate(model: string, options: GenerateOptions): Promise<GenerateResult> {
  const { prompt, maxTokens = DEFAULT_TOKENS, threads, memoryBytes, onText, ...rest } = options;
  const opened = await openModel(await localModel(model, options));
  const device = cpuDevice(threads === undefined ? {} : { threads });
  try {
    const made = await generateFrom(opened, {
      ...rest,
      device,
      prompt,
      maxTokens,
      ...(memoryBytes === undefined ? {} : { memoryLimitBytes: memoryBytes }),
      ...(onText && { onToken: ({ text }) => onText(text) }),
    });
    return {
      prompt,
      text: made.text ?? '',
      ids: [...made.ids],
      tokens: made.ids.length,
      finish: made.finish,
      seconds: made.seconds,
      tokensPerSecond: made.tokensPerSecond,
    };
  } finally {
    await device.dispose();
    await opened.close();
  }
}

// Quality of a model on a text, and its distance from a reference.
import { compare, DEFAULT_CONTEXT, perplexity, type EvaluationProtocol, type ProtocolName } from '@pith/model';
import { openModel, type OpenModel } from '@pith/model/node';
import { PithError, type RunOptions } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { peakMemoryBytes } from '../run/peak-memory.ts';
import { readTextOrIds } from './read-text.ts';
import { localModel } from '../source/locate-model.ts';

/** What {@link evaluate} is asked for. */
export interface EvaluateOptions extends RunOptions {
  /** Text file in UTF-8, or a `.json` file with a list of token ids. */
  readonly data: string;
  /** Positions of a window, BOS included; 512 when left out. */
  readonly context?: number;
  /** How the text is cut: `windows` when left out, or as llama-perplexity does, for numbers that are compared with its. */
  readonly protocol?: ProtocolName;
  /** Directory of a model to compare with. */
  readonly reference?: string;
  /** Leave activations alone where the weights ask a runtime to quantize them (W8A8, FP8); they are rounded when left out. */
  readonly weightsOnly?: boolean;
  /** Threads; one for each processor when left out. */
  readonly threads?: number;
  /** Memory that may be used, in bytes; 3 GiB when left out. */
  readonly memoryBytes?: number;
}

/** The protocol of an evaluation, and how often its window fitted. */
export interface MeasuredProtocol extends EvaluationProtocol {
  /** Windows of the text. */
  readonly windows: number;
}

/** The text of an evaluation. */
export interface EvaluatedText {
  /** SHA-256 of the file, lower-case hexadecimal. */
  readonly sha256: string;
  /** Tokens of the text. */
  readonly tokens: number;
  /** Tokens at its end that no window holds. */
  readonly droppedTokens: number;
}

/** What {@link evaluate} has measured. */
export interface Evaluation {
  /** `exp(nll)`. */
  readonly perplexity: number;
  /** Mean negative log-likelihood of the predicted tokens, in nats. */
  readonly nll: number;
  /** Predicted tokens. */
  readonly tokens: number;
  /** Predicted tokens a second of wall time, loading and compiling included. */
  readonly tokensPerSecond: number;
  /** How it was measured. */
  readonly protocol: MeasuredProtocol;
  /** The text that was read. */
  readonly text: EvaluatedText;
  /** Wall time. */
  readonly seconds: number;
  /** Most resident memory of this process so far, in bytes. */
  readonly peakMemoryBytes: number;
  /** With a reference: mean KL(reference || model) of the next-token distributions, in nats. */
  readonly kl?: number;
  /** With a reference: its 99th percentile over the tokens. */
  readonly klP99?: number;
  /** With a reference: share of tokens for which both find the same next token most likely, 0 to 1. */
  readonly top1Agreement?: number;
  /** With a reference: its perplexity on the same windows. */
  readonly referencePerplexity?: number;
}

/**
 * Measures perplexity on a text and, with a reference, the distance from it, layer by layer.
 *
 * Protocol: the whole text is tokenized once without BOS; windows of `context` positions (BOS and context - 1 tokens) that
 * do not overlap; mean negative log-likelihood over all predicted tokens; the incomplete tail is dropped. `protocol: 'llama.cpp'` cuts
 * the text as llama-perplexity does.
 *
 * @param model directory of a checkpoint, dense or quantized.
 * @throws PithError `TEXT_NOT_READABLE`, `TEXT_TOO_SHORT`, `COMPARE_MISMATCH`, `MEMORY_LIMIT`, `STOPPED`, and those of
 * opening a checkpoint.
 */
export async function evaluate(model: string, options: EvaluateOptions): Promise<Evaluation> {
  const { data, context = DEFAULT_CONTEXT, protocol: cut, reference, threads, memoryBytes, signal, progress } = options;
  const { content, sha256 } = await readTextOrIds(data);
  const opened: OpenModel[] = [];
  const open = async (name: string): Promise<OpenModel> => {
    const one = await openModel(await localModel(name, options));
    opened.push(one);
    return one;
  };
  const device = cpuDevice(threads === undefined ? {} : { threads });
  try {
    const subject = await open(model);
    const against = reference === undefined ? undefined : await open(reference);
    if ('text' in content && content.text.trim() === '') {
      throw new PithError('TEXT_TOO_SHORT', `evaluate: ${data} must hold text, it is empty`, {
        details: { path: data },
      });
    }
    const common = {
      device,
      ...content,
      context,
      ...(cut && { protocol: cut }),
      activations: options.weightsOnly === true ? ('weights-only' as const) : ('quantized' as const),
      ...(memoryBytes === undefined ? {} : { memoryLimitBytes: memoryBytes }),
      ...(signal && { signal }),
      ...(progress && { progress }),
    };
    const measured =
      against === undefined ? await perplexity(subject, common) : await compare(subject, against, common);
    const { tokens, protocol } = measured;
    return {
      perplexity: measured.perplexity,
      nll: measured.nll,
      tokens,
      tokensPerSecond: measured.tokensPerSecond,
      protocol: { ...protocol, windows: tokens / protocol.predictedPerWindow },
      text: { sha256, tokens: measured.textTokens, droppedTokens: measured.droppedTokens },
      seconds: measured.seconds,
      peakMemoryBytes: peakMemoryBytes(),
      ...('kl' in measured && {
        kl: measured.kl,
        klP99: measured.klP99,
        top1Agreement: measured.top1Agreement,
        referencePerplexity: measured.referencePerplexity,
      }),
    };
  } finally {
    await device.dispose();
    for (const one of opened) await one.close();
  }
}

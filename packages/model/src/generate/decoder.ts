// The model as a machine that takes tokens and gives the logits of the next one, with a key/value cache. Two programs
// per block variant are compiled, one for stretches of the prompt and one for single tokens.
import { PithError, throwIfStopped } from '@pith/tensor-core';
import type { Device, HostTensor, Program } from '@pith/tensor-core';
import type { BlockSpec } from '../architecture/architecture.ts';
import { attentionTensors } from '../architecture/attention-tensors.ts';
import type { LanguageModel } from '../language-model.ts';
import { embedTokens } from '../run/embed.ts';
import { compileLogits, headFeeds } from '../run/head-programs.ts';
import type { HeadWeights } from '../run/head-programs.ts';
import { blockBytes, blockForms, programKey } from '../run/linear-form.ts';
import type { PhaseClock } from '../run/phase-clock.ts';
import { blockFeeds, compileBlock, compileEmbedding, scaleFeeds } from '../run/programs.ts';
import type { BlockShape } from '../run/programs.ts';
import { restoreBlock } from '../run/restore.ts';
import type { BlockWeights } from '../run/restore.ts';
import { restoreHead, vocabularySlices } from '../run/vocabulary-slices.ts';
import type { VocabularySlice } from '../run/vocabulary-slices.ts';
import { cacheBytes, KeyValueCache } from './key-value-cache.ts';
import { ResidentWeights } from './resident-weights.ts';

/** Tokens of a prompt that are taken in at once. */
const PROMPT_STRETCH = 256;
/** Most bytes of a restored slice of the output projection. */
const SLICE_BYTES = 64 * 2 ** 20;
/** Runtime, programs, activations of one stretch. */
const BASE_BYTES = 256 * 2 ** 20;

/** What a {@link Decoder} is made for. */
export interface DecoderOptions {
  readonly device: Device;
  /** Tokens of prompt and continuation together. */
  readonly capacity: number;
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  readonly memoryLimitBytes: number;
  readonly clock: PhaseClock;
  readonly signal?: AbortSignal;
}

/** The programs for one number of new tokens. */
interface StepPrograms {
  readonly shape: BlockShape;
  readonly embedding: Program;
  readonly blocks: ReadonlyMap<string, Program>;
}

/** See the head of the file. Dispose it when done. */
export class Decoder {
  readonly #model: LanguageModel;
  readonly #options: DecoderOptions;
  readonly #cache: KeyValueCache;
  readonly #slices: readonly VocabularySlice[];
  readonly #blocks: ResidentWeights<BlockSpec, BlockWeights>;
  readonly #heads: ResidentWeights<VocabularySlice, HeadWeights>;
  readonly #steps = new Map<number, StepPrograms>();
  readonly #headPrograms = new Map<number, Program>();
  readonly #made: Program[] = [];
  readonly #text: number[] = [];

  /**
   * Nothing is compiled or restored yet.
   *
   * @throws PithError `MEMORY_LIMIT` when the cache and the largest layer do not fit.
   */
  constructor(model: LanguageModel, options: DecoderOptions) {
    this.#model = model;
    this.#options = options;
    const { architecture, config } = model;
    const { capacity, memoryLimitBytes } = options;
    const fitting = Math.floor(SLICE_BYTES / (4 * config.hiddenSize));
    const rows = Math.min(config.vocabularySize, Math.max(1, fitting));
    this.#slices = vocabularySlices(config.vocabularySize, rows);
    const bytesOf = (block: BlockSpec) => blockBytes(block, blockForms(block, model.weights));
    const buffers = Math.max(...architecture.blocks.map(bytesOf)) + 4 * rows * config.hiddenSize;
    const neededBytes = BASE_BYTES + cacheBytes(config, capacity) + buffers;
    if (neededBytes > memoryLimitBytes) {
      throw new PithError(
        'MEMORY_LIMIT',
        `generate: the cache of ${capacity} tokens and one layer need ${neededBytes} bytes, the limit is ` +
          `${memoryLimitBytes}; raise the memory limit or generate fewer tokens`,
        { details: { neededBytes, limitBytes: memoryLimitBytes, capacity } },
      );
    }
    const budget = memoryLimitBytes - neededBytes;
    // The head is read at every step like a block: it is kept first, the blocks get what is left.
    const headBytes = Math.min(budget, 4 * config.vocabularySize * config.hiddenSize);
    this.#heads = new ResidentWeights(headBytes, {
      bytesOf: ({ start, end }) => 4 * (end - start) * config.hiddenSize,
      load: (slice, buffers) => restoreHead(model, slice, buffers),
    });
    this.#blocks = new ResidentWeights(budget - headBytes, {
      bytesOf,
      load: (block, buffers) => restoreBlock(model, block, buffers),
    });
    this.#cache = new KeyValueCache(config, capacity);
  }

  /** Tokens taken in so far. */
  get position(): number {
    return this.#cache.used;
  }

  /**
   * Takes in tokens. Where a text grows beyond the length up to which a model rotates by other factors (LongRoPE), the tokens so
   * far are taken in again: keys that were rotated by the one set mean nothing to queries rotated by the other.
   *
   * @returns Logits of the token after the last one, f32 [vocabulary].
   */
  async advance(given: Int32Array): Promise<Float32Array> {
    const { config } = this.#model;
    const before = this.position;
    for (const id of given) this.#text.push(id);
    const length = this.#text.length;
    const turned = config.ropes.some((rope) => {
      const limit = rope?.scaling.kind === 'longrope' ? rope.scaling.originalMaxPositions : Infinity;
      return before > 0 && before <= limit && length > limit;
    });
    if (turned) this.#cache.clear();
    const ids = turned ? Int32Array.from(this.#text) : given;
    let last = new Float32Array(config.hiddenSize);
    for (let start = 0; start < ids.length;) {
      const left = ids.length - start;
      const tokens = left === 1 ? 1 : Math.min(PROMPT_STRETCH, this.#options.promptTokens);
      const part = ids.subarray(start, start + tokens);
      const hidden = await this.#stretch(part, length, await this.#programs(tokens));
      last = hidden.slice((part.length - 1) * config.hiddenSize, part.length * config.hiddenSize);
      start += part.length;
    }
    return this.#logits(last);
  }

  /** Frees programs. */
  async dispose(): Promise<void> {
    await Promise.all(this.#made.map((program) => program.dispose()));
  }

  async #keep(program: Promise<Program>): Promise<Program> {
    const made = await this.#options.clock.time('compile', program);
    this.#made.push(made);
    return made;
  }

  async #programs(tokens: number): Promise<StepPrograms> {
    const known = this.#steps.get(tokens);
    if (known) return known;
    const { architecture, keyValueCache: kept } = this.#model;
    const { device, capacity } = this.#options;
    const shape = { batch: 1, tokens, past: capacity };
    const embedding = await this.#keep(compileEmbedding(architecture, shape, device));
    const blocks = new Map<string, Program>();
    for (const block of architecture.blocks) {
      const forms = blockForms(block, this.#model.weights);
      const key = programKey(block, forms, kept);
      if (blocks.has(key)) continue;
      const program = compileBlock(architecture, block, { device, shape, forms, kept, keepKeys: true });
      blocks.set(key, await this.#keep(program));
    }
    const made = { shape, embedding, blocks };
    this.#steps.set(tokens, made);
    return made;
  }

  /** Runs all blocks on some tokens of a text of `length`, the rest of the shape is padding. Returns hidden states [tokens, hidden]. */
  async #stretch(ids: Int32Array, length: number, { shape, embedding, blocks }: StepPrograms): Promise<Float32Array> {
    const { architecture } = this.#model;
    const { clock, signal } = this.#options;
    const padded = new Int32Array(shape.tokens);
    padded.set(ids);
    const embedded = embedTokens(this.#model, embedding, padded, shape.tokens, this.#cache.used);
    let hidden: HostTensor = await clock.time('embed', embedded);
    const attention = new Map<string, Record<string, HostTensor>>();
    for (const block of architecture.blocks) {
      throwIfStopped(signal, 'generate');
      if (!attention.has(block.variant)) {
        attention.set(block.variant, attentionTensors(architecture, block, shape, this.#cache.used, length));
      }
      const weights = await clock.time('restore', this.#blocks.get(block));
      const { keys, values } = this.#cache.layer(block.index);
      const feeds = {
        ...attention.get(block.variant),
        ...blockFeeds(weights),
        ...scaleFeeds(block, this.#model),
        'past.keys': keys,
        'past.values': values,
      };
      const forms = blockForms(block, this.#model.weights);
      const program = blocks.get(programKey(block, forms, this.#model.keyValueCache))!;
      const result = await clock.time('blocks', program.run({ ...feeds, hidden }));
      this.#cache.write(block.index, result['keys'], result['values'], ids.length);
      hidden = result['output'];
    }
    this.#cache.advance(ids.length);
    return hidden.data as Float32Array;
  }

  async #logits(hidden: Float32Array): Promise<Float32Array> {
    const { architecture, config } = this.#model;
    const { clock, device } = this.#options;
    const logits = new Float32Array(config.vocabularySize);
    const row: HostTensor = { dtype: 'f32', shape: [1, config.hiddenSize], data: hidden };
    for (const slice of this.#slices) {
      const vocabulary = slice.end - slice.start;
      let program = this.#headPrograms.get(vocabulary);
      if (!program) {
        program = await this.#keep(compileLogits(architecture, { rows: 1, vocabulary }, device));
        this.#headPrograms.set(vocabulary, program);
      }
      const weights = headFeeds(architecture, await clock.time('restore', this.#heads.get(slice)));
      const part = await clock.time('head', program.run({ ...weights, hidden: row }));
      logits.set(part['logits'].data as Float32Array, slice.start);
    }
    return logits;
  }
}

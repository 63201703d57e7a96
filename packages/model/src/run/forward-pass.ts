// The blocks of a model, run layer by layer over many windows: one layer's weights are in memory at a time, the
// activations of all windows in hand wait between the layers.
import { throwIfStopped } from '@pith/tensor-core';
import type { Device, HostTensor, Program, RunOptions } from '@pith/tensor-core';
import type { BlockSpec } from '../architecture/architecture.ts';
import { attentionTensors } from '../architecture/attention-tensors.ts';
import type { LanguageModel } from '../language-model.ts';
import { embedTokens } from './embed.ts';
import { blockForms, programKey } from './linear-form.ts';
import type { PhaseClock } from './phase-clock.ts';
import { alternate, prefetch } from './prefetch.ts';
import { blockFeeds, compileBlock, compileEmbedding, scaleFeeds } from './programs.ts';
import type { BlockShape } from './programs.ts';
import { restoreBlock } from './restore.ts';
import type { RestoreBuffers } from './restore.ts';

/** What a {@link ForwardPass} is made for. */
export interface ForwardOptions extends Pick<RunOptions, 'signal'> {
  readonly device: Device;
  /** Sequences in one run of a program. */
  readonly batch: number;
  /** Tokens of a sequence, positions from 0. */
  readonly tokens: number;
  /** Restores the next block while the current one computes. */
  readonly prefetch: boolean;
  readonly clock: PhaseClock;
  /** Names the operation in the error of a stop. */
  readonly operation: string;
  /** Called after each run of a block program. */
  readonly onStep?: (item: string) => void;
}

/** Receives the hidden states after `depth` blocks: f32 [batch, tokens, hidden] per batch; do not keep them. */
export type DepthListener = (depth: number, batches: readonly HostTensor<'f32'>[]) => void;

/** The compiled programs of one model at one shape. Dispose it when done. */
export class ForwardPass {
  readonly model: LanguageModel;
  readonly #options: ForwardOptions;
  readonly #embedding: Program;
  readonly #blocks: ReadonlyMap<string, Program>;
  readonly #attention: ReadonlyMap<string, Record<string, HostTensor>>;
  readonly #buffers: () => RestoreBuffers;

  private constructor(
    model: LanguageModel,
    options: ForwardOptions,
    embedding: Program,
    blocks: ReadonlyMap<string, Program>,
    attention: ReadonlyMap<string, Record<string, HostTensor>>,
  ) {
    this.model = model;
    this.#options = options;
    this.#embedding = embedding;
    this.#blocks = blocks;
    this.#attention = attention;
    this.#buffers = alternate(() => new Map() as RestoreBuffers, options.prefetch);
  }

  /** Compiles the programs. */
  static async create(model: LanguageModel, options: ForwardOptions): Promise<ForwardPass> {
    const { architecture } = model;
    const { device, batch, tokens, clock } = options;
    const shape: BlockShape = { batch, tokens, past: 0 };
    const made: Program[] = [];
    const keep = (program: Program) => {
      made.push(program);
      return program;
    };
    try {
      const embedding = keep(await clock.time('compile', compileEmbedding(architecture, shape, device)));
      const blocks = new Map<string, Program>();
      const attention = new Map<string, Record<string, HostTensor>>();
      for (const block of architecture.blocks) {
        const forms = blockForms(block, model.weights);
        const kept = model.keyValueCache;
        const key = programKey(block, forms, kept);
        if (blocks.has(key)) continue;
        const program = compileBlock(architecture, block, { device, shape, forms, kept });
        blocks.set(key, keep(await clock.time('compile', program)));
        if (!attention.has(block.variant)) {
          attention.set(block.variant, attentionTensors(architecture, block, shape, 0));
        }
      }
      return new ForwardPass(model, options, embedding, blocks, attention);
    } catch (error) {
      await Promise.all(made.map((program) => program.dispose()));
      throw error;
    }
  }

  /**
   * Runs all blocks.
   *
   * @param ids Token ids of each batch, [batch, tokens] row-major.
   * @param segments Segments (token types) of each batch alike; the first for all when left out.
   * @param onDepth Sees the embedding (depth 0) and the output of each block.
   * @returns Hidden states after the last block and before the final norm, f32 [batch, tokens, hidden] per batch.
   */
  async run(
    ids: readonly Int32Array[],
    onDepth?: DepthListener,
    segments?: readonly Int32Array[],
  ): Promise<HostTensor<'f32'>[]> {
    const { architecture } = this.model;
    const { signal, clock, operation, onStep } = this.#options;
    const batches = await this.#embed(ids, segments);
    onDepth?.(0, batches);
    let spare: HostTensor<'f32'> = { ...batches[0], data: new Float32Array(batches[0].data.length) };
    const load = (block: BlockSpec) => restoreBlock(this.model, block, this.#buffers());
    const layers = prefetch(architecture.blocks, load, this.#options.prefetch);
    for (;;) {
      const next = await clock.time('restore', layers.next());
      if (next.done) break;
      const [block, weights] = next.value;
      const forms = blockForms(block, this.model.weights);
      const program = this.#blocks.get(programKey(block, forms, this.model.keyValueCache))!;
      const feeds = {
        ...this.#attention.get(block.variant),
        ...blockFeeds(weights),
        ...scaleFeeds(block, this.model),
      };
      try {
        for (let i = 0; i < batches.length; i++) {
          throwIfStopped(signal, operation);
          await clock.time('blocks', program.run({ ...feeds, hidden: batches[i] }, { output: spare }));
          [batches[i], spare] = [spare, batches[i]];
          onStep?.(block.path);
        }
      } catch (error) {
        await layers.return();
        throw error;
      }
      onDepth?.(block.index + 1, batches);
    }
    return batches;
  }

  /** Frees the programs. */
  async dispose(): Promise<void> {
    await Promise.all([this.#embedding, ...this.#blocks.values()].map((program) => program.dispose()));
  }

  async #embed(ids: readonly Int32Array[], segments?: readonly Int32Array[]): Promise<HostTensor<'f32'>[]> {
    const { signal, clock, operation, tokens } = this.#options;
    const batches: HostTensor<'f32'>[] = [];
    for (const [i, batch] of ids.entries()) {
      throwIfStopped(signal, operation);
      const embedded = embedTokens(this.model, this.#embedding, batch, tokens, 0, segments?.[i]);
      batches.push(await clock.time('embed', embedded));
    }
    return batches;
  }
}

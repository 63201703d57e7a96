// Gradients of the loss with respect to the weights of the blocks, block by block (design 2c): a forward pass that keeps
// the input of every block, the gradient at the head, then each block backwards from the last. One block's weights are
// in memory at a time, whatever the depth of the model.
import { PithError, throwIfStopped } from '@pith/tensor-core';
import type { Device, HostTensor, Program, RunOptions } from '@pith/tensor-core';
import type { BlockSpec, LinearSpec } from '../architecture/architecture.ts';
import { attentionTensors } from '../architecture/attention-tensors.ts';
import { blockTensors } from '../architecture/expected-tensors.ts';
import { requireCausal } from '../evaluate/require-head.ts';
import type { LanguageModel } from '../language-model.ts';
import { compileBlockGradient, gradientOutput } from '../run/block-gradient.ts';
import { blockFeeds } from '../run/programs.ts';
import { localName, restoreRows, storedWeight, type RestoreBuffers } from '../run/restore.ts';
import { memoryActivations, type ActivationStore } from './activations.ts';
import { BlockPrograms } from './block-programs.ts';
import { slopeKey, writeLossSlopes } from './loss-slopes.ts';
import type { GradientNeeds, WeightGradient } from './weight-gradient.ts';
import { batchWindows, embedBatches, hiddenKey, type WindowBatch } from './window-batches.ts';

/** Options of {@link collectGradients}. */
export interface GradientOptions extends RunOptions {
  /** Where the blocks run. */
  readonly device: Device;
  /** Calibration windows, int32 [context] each, all of one length. */
  readonly windows: readonly Int32Array[];
  /** Which gradients of which linears. */
  readonly wanted: GradientNeeds;
  /** Where hidden states and gradients wait between blocks; in memory when left out. It is disposed in the end. */
  readonly activations?: ActivationStore;
  /** Rows of the output projection that are worked on at once; as many as 64 MiB hold when left out. */
  readonly vocabularySlice?: number;
  /**
   * Called for every block of which something is wanted, from the last to the first: gradients by checkpoint name of the
   * weight, the arrays for the caller to keep. What it throws ends the run.
   */
  readonly onBlock: (block: BlockSpec, gradients: ReadonlyMap<string, WeightGradient>) => Promise<void>;
}

/** What a collection of gradients tells beside them. */
export interface GradientSummary {
  /** Mean negative log-likelihood of the predicted tokens, natural logarithm: what the gradients are of. */
  readonly loss: number;
}

/**
 * Gradients of the loss on calibration windows with respect to the weights of linears in the blocks.
 *
 * The loss of a window is the mean negative log-likelihood of its tokens but the first, that of all windows their mean.
 * Every linear is taken as its dense value, whatever is stored. All in f32; sums over windows too, so that n windows add
 * at most n * 2^-24 of the sum of magnitudes.
 *
 * @throws PithError `CALIBRATION_EMPTY`, `GRADIENTS_NOT_FINITE`, `STOPPED`.
 */
export async function collectGradients(model: LanguageModel, options: GradientOptions): Promise<GradientSummary> {
  const { windows, activations: store = memoryActivations() } = options;
  try {
    if (windows.length === 0) {
      throw new PithError('CALIBRATION_EMPTY', 'gradients: needs at least one window, got none; give a longer text');
    }
    return await backward(model, batchWindows(windows, 1), store, options);
  } finally {
    await store.dispose();
  }
}

/** {@link collectGradients} on a store that stays open. @internal */
export async function backward(
  model: LanguageModel,
  windows: readonly WindowBatch[],
  store: ActivationStore,
  options: Omit<GradientOptions, 'windows' | 'activations'>,
): Promise<GradientSummary> {
  const { device, signal, progress, wanted, vocabularySlice } = options;
  requireCausal(model, 'gradients');
  const { blocks } = model.architecture;
  const total = 2 * blocks.length;
  const step = (done: number, item: string) => progress?.({ phase: 'gradients', item, done, total, unit: 'block' });
  const buffers: RestoreBuffers = new Map();
  await forward(model, windows, store, buffers, options, (block) => step(block.index + 1, block.path));
  const losses = await writeLossSlopes(model, { device, windows, store, signal, vocabularySlice });
  const loss = losses.reduce((a, b) => a + b, 0) / losses.length;
  if (!Number.isFinite(loss)) throw notFinite('the loss');
  for (const window of windows) await store.drop(hiddenKey(blocks.length, window));
  const needs = blocks.map((block) => block.linears.filter((linear) => wanted(linear).length > 0));
  const lowest = needs.findIndex((linears) => linears.length > 0);
  const programs = new BackwardPrograms(model, windows[0].ids.length, device);
  try {
    for (let index = blocks.length - 1; lowest >= 0 && index >= lowest; index--) {
      const block = blocks[index];
      const sums = new GradientSums(needs[index], wanted);
      const weights = await restoreDense(model, block, buffers);
      for (const [i, window] of windows.entries()) {
        throwIfStopped(signal, 'gradients');
        const next = windows[i + 1] && hiddenKey(index, windows[i + 1]);
        // Two arrays of the store at once: the first is copied, as the second read may end its life.
        const slope = (await store.read(slopeKey(window))).slice();
        const hidden = await store.read(hiddenKey(index, window), next);
        const into = store.take(slope.length);
        sums.add(await programs.run(block, needs[index], { hidden, slope, weights, into }));
        await store.write(slopeKey(window), into);
        await store.drop(hiddenKey(index, window));
      }
      if (needs[index].length > 0) await options.onBlock(block, sums.result());
      step(total - index, block.path);
    }
  } finally {
    await programs.dispose();
    for (const window of windows) {
      await store.drop(slopeKey(window));
      for (const { index } of blocks) await store.drop(hiddenKey(index, window));
    }
  }
  return { loss };
}

/** Runs all blocks; the input of each stays in the store. */
async function forward(
  model: LanguageModel,
  windows: readonly WindowBatch[],
  store: ActivationStore,
  buffers: RestoreBuffers,
  { device, signal }: Pick<GradientOptions, 'device' | 'signal'>,
  onBlock: (block: BlockSpec) => void,
): Promise<void> {
  await embedBatches(model, windows, store, device);
  const programs = new BlockPrograms(model.architecture, windows[0].ids.length, device);
  try {
    for (const block of model.architecture.blocks) {
      const weights = await restoreDense(model, block, buffers);
      for (const [i, window] of windows.entries()) {
        throwIfStopped(signal, 'gradients');
        const next = windows[i + 1] && hiddenKey(block.index, windows[i + 1]);
        const hidden = await store.read(hiddenKey(block.index, window), next);
        const into = store.take(hidden.length);
        const { output } = await programs.run(block, 1, hidden, weights, new Map(), into);
        await store.write(hiddenKey(block.index + 1, window), output);
      }
      onBlock(block);
    }
  } finally {
    await programs.dispose();
  }
}

/** The tensors of a block as dense f32 by checkpoint name. */
async function restoreDense(
  model: LanguageModel,
  block: BlockSpec,
  buffers: RestoreBuffers,
): Promise<Map<string, HostTensor<'f32'>>> {
  const dense = new Map<string, HostTensor<'f32'>>();
  for (const { name } of blockTensors(block)) {
    dense.set(name, await restoreRows(storedWeight(model, name), undefined, buffers, localName(block, name)));
  }
  return dense;
}

/** Arrays of one window's backward run through a block. */
interface BackwardInputs {
  readonly hidden: Float32Array;
  readonly slope: Float32Array;
  /** By checkpoint name. */
  readonly weights: ReadonlyMap<string, HostTensor<'f32'>>;
  /** Receives the gradient at the input of the block. */
  readonly into: Float32Array;
}

/** The compiled backward programs of one model, and the arrays that they write to again and again. */
class BackwardPrograms {
  readonly #model: LanguageModel;
  readonly #tokens: number;
  readonly #device: Device;
  readonly #programs = new Map<string, Program>();
  readonly #buffers = new Map<string, HostTensor>();

  constructor(model: LanguageModel, tokens: number, device: Device) {
    this.#model = model;
    this.#tokens = tokens;
    this.#device = device;
  }

  /** The gradients of one window in the weights of `linears`, by checkpoint name: valid until the next run. */
  async run(
    block: BlockSpec,
    linears: readonly LinearSpec[],
    { hidden, slope, weights, into }: BackwardInputs,
  ): Promise<Map<string, Float32Array>> {
    const { architecture } = this.#model;
    const wanted = linears.map(({ name }) => localName(block, name));
    const program = await this.#program(block, wanted);
    const shape = [1, this.#tokens, architecture.config.hiddenSize];
    const f32 = (data: Float32Array): HostTensor => ({ dtype: 'f32', shape, data });
    const targets: Record<string, HostTensor> = { inputSlope: f32(into) };
    for (const [name, type] of Object.entries(program.outputs)) {
      if (name !== 'inputSlope') targets[name] = this.#buffer(name, type.shape);
    }
    const local = Object.fromEntries([...weights].map(([name, tensor]) => [localName(block, name), tensor]));
    const outputs = await program.run(
      {
        ...attentionTensors(architecture, block, { tokens: this.#tokens, past: 0 }, 0),
        ...blockFeeds(local),
        hidden: f32(hidden),
        slope: f32(slope),
      },
      targets,
    );
    return new Map(linears.map(({ name }, i) => [name, outputs[gradientOutput(wanted[i])].data as Float32Array]));
  }

  async dispose(): Promise<void> {
    for (const program of this.#programs.values()) await program.dispose();
    this.#programs.clear();
    this.#buffers.clear();
  }

  async #program(block: BlockSpec, wanted: readonly string[]): Promise<Program> {
    const key = JSON.stringify([block.variant, wanted]);
    let program = this.#programs.get(key);
    if (program === undefined) {
      const options = { device: this.#device, batch: 1, tokens: this.#tokens, wanted };
      program = await compileBlockGradient(this.#model.architecture, block, options);
      this.#programs.set(key, program);
    }
    return program;
  }

  #buffer(name: string, shape: readonly number[]): HostTensor {
    let buffer = this.#buffers.get(name);
    if (buffer === undefined || buffer.shape.join() !== shape.join()) {
      buffer = { dtype: 'f32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) };
      this.#buffers.set(name, buffer);
    }
    return buffer;
  }
}

/** Sums over windows of the gradients in some weights. */
class GradientSums {
  readonly #sums: Map<string, { mean?: Float32Array; squares?: Float32Array }>;
  #windows = 0;

  constructor(linears: readonly LinearSpec[], wanted: GradientNeeds) {
    this.#sums = new Map(
      linears.map((linear) => {
        const kinds = [...new Set(wanted(linear))];
        const array = () => new Float32Array(linear.outFeatures * linear.inFeatures);
        return [linear.name, Object.fromEntries(kinds.map((kind) => [kind, array()]))];
      }),
    );
  }

  /** @throws PithError `GRADIENTS_NOT_FINITE`. */
  add(gradients: ReadonlyMap<string, Float32Array>): void {
    for (const [name, { mean, squares }] of this.#sums) {
      const gradient = gradients.get(name)!;
      // 0 times anything but a finite number is NaN, which no further sum loses.
      let check = 0;
      for (let i = 0; i < gradient.length; i++) check += gradient[i] * 0;
      if (check !== 0) throw notFinite(`the gradient in ${name}`);
      if (mean) for (let i = 0; i < mean.length; i++) mean[i] += gradient[i];
      if (squares) for (let i = 0; i < squares.length; i++) squares[i] += gradient[i] * gradient[i];
    }
    this.#windows += 1;
  }

  /** The means over windows. The arrays are handed over. */
  result(): Map<string, WeightGradient> {
    const divided = (sum: Float32Array) => {
      for (let i = 0; i < sum.length; i++) sum[i] /= this.#windows;
      return sum;
    };
    return new Map(
      [...this.#sums].map(([name, { mean, squares }]) => [
        name,
        { windows: this.#windows, ...(mean && { mean: divided(mean) }), ...(squares && { squares: divided(squares) }) },
      ]),
    );
  }
}

function notFinite(what: string): PithError {
  return new PithError(
    'GRADIENTS_NOT_FINITE',
    `gradients: ${what} must be finite, got NaN or infinity; evaluate the model first, its weights overflow`,
    { details: { what } },
  );
}

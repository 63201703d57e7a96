// Walks a model block by block over calibration windows (design 2c): collects what the passes want to know of each
// linear's input, lets them rewrite the block, runs the rewritten block to get the next one's inputs, and forgets it.
import { factorNames, PithError, throwIfStopped } from '@pith/tensor-core';
import type { Device, HostTensor, RunOptions, WeightTensor } from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import type { BlockSpec, LinearSpec } from '../architecture/architecture.ts';
import { blockTensors } from '../architecture/expected-tensors.ts';
import type { LanguageModel } from '../language-model.ts';
import { storedInputs } from '../run/linear-form.ts';
import { localName, restoreRows, storedWeight, type RestoreBuffers } from '../run/restore.ts';
import { memoryActivations, type ActivationStore } from './activations.ts';
import { BlockPrograms } from './block-programs.ts';
import { gradientNeeds, KeptGradients } from './kept-gradients.ts';
import { keyValueScaleNames } from '../run/key-value-form.ts';
import type {
  BlockPass,
  HeadRanges,
  Intervention,
  KeyValueRanges,
  KeyValueResult,
  Stage,
  StageResult,
} from './pass.ts';
import { batchWindows, CALIBRATION_BATCH_TOKENS, embedBatches, hiddenKey, type WindowBatch } from './window-batches.ts';
import { InputAccumulator, piecesOf, type InputStatistics, type StatisticPiece } from './statistic.ts';

/** Tokens that `Stage.outputError` runs. */
const COMPARED_TOKENS = 8192;

/** What a block became. */
export interface BlockOutcome {
  /** The block. */
  readonly block: BlockSpec;
  /** Every stored tensor of the block by checkpoint name. */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** Names of the tensors that passes rewrote. */
  readonly rewritten: ReadonlySet<string>;
  /** Per pass, in order: facts per tensor. */
  readonly records: readonly {
    /** Name of the pass. */
    readonly pass: string;
    /** What it recorded. */
    readonly records: StageResult['records'];
  }[];
  /** Rescues and exceptions: of the passes, and the notices. */
  readonly interventions: readonly Intervention[];
  /** What the runner itself has to say: inputs with fewer tokens than columns. */
  readonly notices: readonly Intervention[];
  /** Scales of kept keys and values by checkpoint name, f32 [1] or [keyValueHeads]; empty where no pass codes them. */
  readonly keyValueScales: ReadonlyMap<string, Float32Array>;
}

/** How the block runner works. */
export interface BlockRunOptions extends RunOptions {
  /** Where the blocks run. */
  readonly device: Device;
  /** Threads for the kernels of the passes. */
  readonly pool: KernelPool;
  /** Calibration windows, int32 [context] each, all of one length. */
  readonly windows: readonly Int32Array[];
  /** Techniques in the order in which they rewrite a block. */
  readonly passes: readonly BlockPass[];
  /** Seed of everything random in the passes; 0 when left out. */
  readonly seed?: number;
  /** Whether a block sees what the already rewritten blocks before it give, or what the original ones gave; `compressed` when left out. */
  readonly inputs?: 'compressed' | 'original';
  /**
   * `block`: all linears of a block are rewritten from one collection. `groups`: linears that share an input are rewritten
   * together, in the order of the table, each seeing the rewritten ones before it (true sequential order). `block` when left out.
   */
  readonly order?: 'block' | 'groups';
  /** Most tokens that run together; {@link CALIBRATION_BATCH_TOKENS} when left out, one window at least. */
  readonly batchTokens?: number;
  /** Where hidden states and gradients wait between blocks; in memory when left out. It is disposed in the end. */
  readonly activations?: ActivationStore;
  /**
   * The weights of a block that an earlier run finished, by checkpoint name; such a block is run, not rewritten. Asked for
   * every block before anything runs.
   */
  readonly finished?: (block: BlockSpec) => Promise<ReadonlyMap<string, WeightTensor> | null>;
  /** Called when a block is done, in order. What it throws ends the run. */
  readonly onBlock: (outcome: BlockOutcome) => Promise<void>;
}

/**
 * Rewrites all blocks of a model.
 *
 * Statistics are sums over all windows; products in f32, sums over batches in f64.
 *
 * @throws PithError `CALIBRATION_EMPTY`, `ACTIVATIONS_NOT_FINITE`, `STOPPED`, and what the passes throw.
 */
export async function runBlocks(model: LanguageModel, options: BlockRunOptions): Promise<void> {
  const { device, windows, signal, progress } = options;
  if (windows.length === 0) {
    throw new PithError('CALIBRATION_EMPTY', 'calibration: needs at least one window, got none; give a longer text');
  }
  const { blocks } = model.architecture;
  const batches = batchWindows(windows, options.batchTokens ?? CALIBRATION_BATCH_TOKENS);
  const store = options.activations ?? memoryActivations();
  const programs = new BlockPrograms(model.architecture, windows[0].length, device);
  const buffers: RestoreBuffers = new Map();
  try {
    const finished = new Map<number, ReadonlyMap<string, WeightTensor>>();
    for (const block of blocks) {
      const done = await options.finished?.(block);
      if (done) finished.set(block.index, done);
    }
    const wanted = gradientNeeds(options.passes);
    const rest = blocks.filter(({ index }) => !finished.has(index));
    const gradients = rest.some(({ linears }) => linears.some((linear) => wanted(linear).length > 0))
      ? await KeptGradients.collect(model, store, {
          device,
          windows,
          wanted: (linear) => (finished.has(linear.block!) ? [] : wanted(linear)),
          ...(signal && { signal }),
          ...(progress && { progress }),
        })
      : null;
    await embedBatches(model, batches, store, device);
    for (const block of blocks) {
      throwIfStopped(signal, 'calibration');
      const done = finished.get(block.index);
      const run = new BlockRun(model, block, { batches, store, programs, options, buffers, gradients });
      const outcome = done ? { block, weights: done } : await run.rewrite();
      if (block.index + 1 < blocks.length) await run.advance(outcome.weights);
      if (!done) await options.onBlock(outcome as BlockOutcome);
      progress?.({ phase: 'calibrate', item: block.path, done: block.index + 1, total: blocks.length, unit: 'block' });
    }
  } finally {
    await programs.dispose();
    await store.dispose();
  }
}

/** What the blocks of a run share. */
interface SharedRun {
  readonly batches: readonly WindowBatch[];
  readonly store: ActivationStore;
  readonly programs: BlockPrograms;
  readonly options: BlockRunOptions;
  /** Weights of one block after the other are restored to the same arrays. */
  readonly buffers: RestoreBuffers;
  /** Null where no pass wants any. */
  readonly gradients: KeptGradients | null;
}

/** One block's turn. */
class BlockRun {
  readonly #block: BlockSpec;
  readonly #batches: readonly WindowBatch[];
  readonly #store: ActivationStore;
  readonly #programs: BlockPrograms;
  readonly #options: BlockRunOptions;
  readonly #weights: Map<string, WeightTensor>;
  /** Inputs of the block's program as f32 (see `storedInputs`), restored when first used. */
  readonly #dense = new Map<string, HostTensor<'f32'>>();
  readonly #buffers: RestoreBuffers;
  readonly #gradients: KeptGradients | null;
  /** Blocks of the model. */
  readonly #layers: number;
  /** Set where the collection already gave the next block's inputs. */
  #advanced = false;

  constructor(model: LanguageModel, block: BlockSpec, shared: SharedRun) {
    this.#block = block;
    this.#layers = model.architecture.blocks.length;
    this.#buffers = shared.buffers;
    this.#batches = shared.batches;
    this.#store = shared.store;
    this.#programs = shared.programs;
    this.#options = shared.options;
    this.#gradients = shared.gradients;
    this.#weights = new Map(blockTensors(block).map(({ name }) => [name, storedWeight(model, name)]));
  }

  /** Lets every pass rewrite its linears, then finds the scales of what the block keeps. */
  async rewrite(): Promise<BlockOutcome> {
    const { passes, order = 'block', device, pool, seed = 0, signal, progress } = this.#options;
    const rewritten = new Set<string>();
    const records: { pass: string; records: StageResult['records'] }[] = [];
    const interventions: Intervention[] = [];
    const notices: Intervention[] = [];
    for (const linears of stagesOf(this.#block, order)) {
      let statistics: ReadonlyMap<string, InputStatistics> | undefined;
      const gradients = await this.#gradients?.of(linears);
      for (const [index, pass] of passes.entries()) {
        throwIfStopped(signal, 'calibration');
        // What this pass and those after it need, up to one that changes the inputs.
        const changing = passes.findIndex(({ changesInputs }, i) => i >= index && changesInputs === true);
        if (statistics === undefined) {
          statistics = await this.#collect(linears, passes.slice(index, changing < 0 ? undefined : changing + 1));
          notices.push(...fewTokens(statistics, notices));
        }
        const stage = {
          block: this.#block,
          linears,
          weights: this.#weights,
          statistics,
          ...(gradients && { gradients }),
          outputError: this.#compare(),
        };
        const context = { device, pool, seed, ...(signal && { signal }), ...(progress && { progress }) };
        const result = await pass.apply(stage, context);
        for (const [name, weight] of result.weights) {
          this.#replace(name, weight);
          rewritten.add(name);
        }
        records.push({ pass: pass.name, records: result.records });
        interventions.push(...result.interventions);
        if (pass.changesInputs) statistics = undefined;
      }
    }
    await this.#gradients?.drop(this.#block);
    const all = [...notices, ...interventions];
    const keyValueScales = new Map<string, Float32Array>();
    const names = keyValueScaleNames(this.#block);
    for (const { name: pass, keyValues } of passes) {
      if (keyValues === undefined || names === undefined) continue;
      const found: KeyValueResult = keyValues.scales(await this.#keyValueRanges(), this.#block);
      for (const part of ['keys', 'values'] as const) keyValueScales.set(names[part], found.scales[part]);
      records.push({ pass, records: { [names.keys]: found.records.keys, [names.values]: found.records.values } });
    }
    return {
      ...{ block: this.#block, weights: this.#weights, rewritten, records, interventions: all, notices },
      keyValueScales,
    };
  }

  /**
   * What the rewritten block keeps. Where the next block sees what this one gives, it is the run to it as well.
   *
   * @throws PithError `ACTIVATIONS_NOT_FINITE`.
   */
  async #keyValueRanges(): Promise<KeyValueRanges> {
    const { path, index } = this.#block;
    const advance = this.#options.inputs !== 'original' && !this.#advanced && index + 1 < this.#layers;
    const wanted = new Map([[path, ['keys', 'values'] as const]]);
    let ranges: KeyValueRanges | undefined;
    for (const batch of this.#batches) {
      throwIfStopped(this.#options.signal, 'calibration');
      const reduced = (await this.#run(batch, wanted, advance)).get(path)!;
      const [keys, values] = [rangesOf(reduced.get('keys')![0]), rangesOf(reduced.get('values')![0])];
      ranges = ranges ? { keys: widest(ranges.keys, keys), values: widest(ranges.values, values) } : { keys, values };
    }
    if (advance) this.#advanced = true;
    const { keys, values } = ranges!;
    if ([keys.min, keys.max, values.min, values.max].every((one) => one.every(Number.isFinite))) return ranges!;
    throw new PithError(
      'ACTIVATIONS_NOT_FINITE',
      `calibration: keys and values of ${path} must be finite, got NaN or infinity; evaluate the model first, its weights overflow`,
      { details: { block: path } },
    );
  }

  /** Puts what the block makes of the hidden states in their place. */
  async advance(weights: ReadonlyMap<string, WeightTensor>): Promise<void> {
    for (const [name, weight] of weights) {
      if (this.#options.inputs === 'original' || this.#weights.get(name) === weight) continue;
      this.#replace(name, weight);
    }
    for (const batch of this.#batches) {
      throwIfStopped(this.#options.signal, 'calibration');
      if (!this.#advanced) await this.#run(batch, new Map(), true);
      await this.#store.drop(hiddenKey(this.#block.index, batch));
    }
  }

  async #collect(linears: readonly LinearSpec[], passes: readonly BlockPass[]): Promise<Map<string, InputStatistics>> {
    const wanted = new Map<string, StatisticPiece[]>();
    const accumulators = new Map<string, InputAccumulator>();
    for (const group of new Set(linears.map(({ inputGroup }) => inputGroup))) {
      const readers = linears.filter(({ inputGroup }) => inputGroup === group);
      const needed = piecesOf(passes.flatMap((pass) => readers.flatMap((linear) => pass.needs(linear))));
      if (needed.length === 0) continue;
      const pieces: StatisticPiece[] = readers[0].expert === null ? needed : [...needed, 'routed'];
      wanted.set(group, pieces);
      accumulators.set(group, new InputAccumulator(readers[0].inFeatures, pieces));
    }
    // With the original's inputs the first collection, on original weights, is also the run to the next block.
    const advance = this.#options.inputs === 'original' && !this.#advanced;
    if (wanted.size > 0 || advance) {
      for (const batch of this.#batches) {
        throwIfStopped(this.#options.signal, 'calibration');
        const reduced = await this.#run(batch, wanted, advance);
        for (const [group, accumulator] of accumulators) accumulator.add(batch.ids.length, reduced.get(group)!, group);
      }
    }
    if (advance) this.#advanced = true;
    return new Map([...accumulators].map(([group, accumulator]) => [group, accumulator.result(group)]));
  }

  /** Restores the weights that are not in memory yet. */
  async #restore(): Promise<void> {
    for (const [name, weight] of storedInputs(this.#block, this.#weights)) {
      if (this.#dense.has(name)) continue;
      const local = localName(this.#block, name);
      this.#dense.set(name, await restoreRows(weight, undefined, this.#buffers, local));
    }
  }

  /** Compares outputs with those of the weights as they are when it is first called; see `Stage.outputError`. */
  #compare(): NonNullable<Stage['outputError']> {
    const perBatch = this.#batches[0].ids.length;
    const batches = this.#batches.slice(0, Math.max(1, Math.ceil(COMPARED_TOKENS / perBatch)));
    let expected: Promise<Float32Array[]> | undefined;
    const outputs = async (weights: ReadonlyMap<string, HostTensor<'f32'>>) => {
      const found: Float32Array[] = [];
      for (const batch of batches) {
        throwIfStopped(this.#options.signal, 'calibration');
        const hidden = await this.#store.read(hiddenKey(this.#block.index, batch));
        const { output } = await this.#programs.run(this.#block, batch.count, hidden, weights, new Map());
        found.push(output);
      }
      return found;
    };
    return async (changed) => {
      expected ??= this.#restore().then(() => outputs(new Map(this.#dense)));
      const before = await expected;
      const weights = new Map(this.#dense);
      for (const [name, data] of changed) weights.set(name, { ...weights.get(name)!, data });
      let sum = 0;
      let count = 0;
      for (const [i, values] of (await outputs(weights)).entries()) {
        count += values.length;
        for (let j = 0; j < values.length; j++) sum += (values[j] - before[i][j]) ** 2;
      }
      return sum / count;
    };
  }

  /** Runs the block on a batch; with `keep` its output becomes the next block's input. */
  async #run(batch: WindowBatch, wanted: ReadonlyMap<string, readonly StatisticPiece[]>, keep: boolean) {
    await this.#restore();
    const { index } = this.#block;
    const next = this.#batches[batch.slot + 1] ?? this.#batches[0];
    const hidden = await this.#store.read(hiddenKey(index, batch), hiddenKey(index, next));
    const into = this.#store.take(hidden.length);
    const { output, reduced } = await this.#programs.run(this.#block, batch.count, hidden, this.#dense, wanted, into);
    if (keep) await this.#store.write(hiddenKey(index + 1, batch), output);
    else this.#store.giveBack(into);
    return reduced;
  }

  #replace(name: string, weight: WeightTensor): void {
    this.#weights.set(name, weight);
    const { left, right } = factorNames(name);
    for (const input of [name, left, right]) this.#dense.delete(input);
  }
}

/** Smallest and largest values by head, as the program gives them: copies. */
function rangesOf(reduced: Float32Array): HeadRanges {
  const heads = reduced.length / 2;
  return { min: reduced.slice(0, heads), max: reduced.slice(heads) };
}

function widest(a: HeadRanges, b: HeadRanges): HeadRanges {
  return {
    min: a.min.map((value, head) => Math.min(value, b.min[head])),
    max: a.max.map((value, head) => Math.max(value, b.max[head])),
  };
}

/** Notices for experts without tokens, and for Gram matrices that are singular because fewer tokens than columns went into them, each input once. */
function fewTokens(statistics: ReadonlyMap<string, InputStatistics>, known: readonly Intervention[]): Intervention[] {
  const told = (group: string) => known.some(({ where }) => where === group);
  const idle = [...statistics].filter(([group, { tokens }]) => tokens === 0 && !told(group));
  const short = [...statistics].filter(
    ([group, { tokens, inFeatures, gram }]) => gram !== undefined && tokens > 0 && tokens < inFeatures && !told(group),
  );
  const unused = idle.map(([where, { inFeatures }]) => ({
    code: 'EXPERT_WITHOUT_TOKENS',
    where,
    message:
      'the router sent no calibration token to this expert: nothing is known of its inputs, and it is treated as without ' +
      'calibration. Give more text, or more varied text.',
    details: { tokens: 0, inFeatures },
  }));
  return [
    ...unused,
    ...short.map(([where, { tokens, inFeatures }]) => ({
      code: 'FEW_CALIBRATION_TOKENS',
      where,
      message:
        `${tokens} tokens went into a Gram matrix of ${inFeatures} columns: it is singular, and what is made from it ` +
        `follows these few tokens. Give at least ${inFeatures} tokens, better several times as many.`,
      details: { tokens, inFeatures },
    })),
  ];
}

/** The linears of a block that are rewritten together, in order. */
function stagesOf(block: BlockSpec, order: 'block' | 'groups'): (readonly LinearSpec[])[] {
  if (order === 'block') return [block.linears];
  const groups = new Map<string, LinearSpec[]>();
  for (const linear of block.linears) {
    groups.set(linear.inputGroup, [...(groups.get(linear.inputGroup) ?? []), linear]);
  }
  return [...groups.values()];
}

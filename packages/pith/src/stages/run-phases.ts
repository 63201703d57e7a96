// Carries out the phases of a recipe. What is finished (a block, a transform's model) lies in the working directory and is
// read back from there by the phases that follow and by a later run, so that a killed run continues with the very bytes.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  blockTensors,
  createModel,
  keyValueScaleNames,
  runBlocks,
  type BlockPass,
  type BlockSpec,
  type CalibrationMemoryPlan,
  type Intervention,
  type KeyValueCoding,
  type KeyValueQuantization,
  type PassContext,
  type TransformResult,
} from '@pith/model';
import { spilledActivations } from '@pith/model/node';
import { PithError, throwIfStopped, type Device, type RunOptions, type WeightTensor } from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import { keyValueForm, scaleWeights } from './key-values.ts';
import { isCalibrated, resultOf, type BlockPhase, type ModelPhase } from './phases.ts';
import type { PreparedRecipe } from './prepare-recipe.ts';
import type { StageModel } from './stage-source.ts';
import type { Step } from './technique.ts';
import { openWeightStore, type WeightStore } from './weight-store.ts';

/** Facts per tensor or layer. JSON only. */
type Records = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** What one step did. */
export interface StepFacts {
  readonly id: string;
  readonly records: Records;
  readonly interventions: readonly Intervention[];
}

/** What {@link runPhases} works with. */
export interface RunPhasesOptions extends RunOptions {
  readonly prepared: PreparedRecipe;
  /** Where finished work lies. */
  readonly directory: string;
  readonly device: Device;
  readonly pool: KernelPool;
  /** Calibration windows; empty where no stage looks at any. */
  readonly windows: readonly Int32Array[];
  /** Windows of stages that train on a text of their own, by the id of the stage. */
  readonly data: ReadonlyMap<string, readonly Int32Array[]>;
  /** How each phase keeps within the memory; null where there is nothing to keep. */
  readonly memory: readonly (CalibrationMemoryPlan | null)[];
  /** Windows to judge by, where the recipe evaluates. */
  readonly evaluationWindows?: readonly Int32Array[];
}

/** A finished recipe: its model, and what every step did. */
export interface FinishedPhases {
  readonly result: StageModel;
  readonly facts: readonly StepFacts[];
  /** Blocks and models that earlier runs had finished, and all of them. */
  readonly units: { readonly resumed: number; readonly total: number };
  /** Closes the files that the result is read from. */
  close(): Promise<void>;
}

/** Runs all phases that are not finished. */
export async function runPhases(options: RunPhasesOptions): Promise<FinishedPhases> {
  const { prepared, directory, signal } = options;
  const models = new Map<string, StageModel>(prepared.sources);
  const stores: WeightStore[] = [];
  const facts: StepFacts[] = [];
  const units = { resumed: 0, total: 0 };
  const close = async (): Promise<void> => {
    for (const store of stores) await store.close();
  };
  try {
    for (const [index, phase] of prepared.phases.entries()) {
      throwIfStopped(signal, 'compress');
      const place = join(directory, `stage-${index + 1}`);
      const store = await openWeightStore(place);
      stores.push(store);
      const run =
        phase.kind === 'blocks'
          ? await runBlockPhase(phase, models, store, place, { ...options, memory: options.memory[index] ?? null })
          : await runModelPhase(phase, models, store, place, options);
      models.set(resultOf(phase), run.model);
      facts.push(...run.facts);
      units.resumed += run.resumed;
      units.total += run.total;
    }
    return { result: models.get(prepared.steps.at(-1)!.id)!, facts, units, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface PhaseRun {
  readonly model: StageModel;
  readonly facts: readonly StepFacts[];
  readonly resumed: number;
  readonly total: number;
}

/** What a pass did to a block. */
interface PassFacts {
  records: Records;
  interventions: readonly Intervention[];
}

/** What a finished block says beside its weights: per pass, in order. */
interface BlockFacts {
  readonly passes: readonly PassFacts[];
}

async function runBlockPhase(
  phase: BlockPhase,
  models: ReadonlyMap<string, StageModel>,
  store: WeightStore,
  place: string,
  options: Omit<RunPhasesOptions, 'memory'> & { readonly memory: CalibrationMemoryPlan | null },
): Promise<PhaseRun> {
  const { prepared, windows, memory, device, pool, signal, progress } = options;
  const input = models.get(phase.from)!;
  const { model } = input;
  const log: PassFacts[] = phase.steps.map(() => ({ records: {}, interventions: [] }));
  const passes = phase.steps.map(({ technique }, index) => recorded(technique.pass, log[index]!));
  const { blocks } = model.architecture;
  const weights = new Map(model.weights);
  const facts: BlockFacts[] = [];
  const scales = new Map<string, Float32Array>();
  let resumed = 0;
  const take = async (
    block: BlockSpec,
    group: { weights: ReadonlyMap<string, WeightTensor>; facts: unknown },
  ): Promise<void> => {
    const kept: readonly string[] = Object.values(keyValueScaleNames(block) ?? {});
    for (const [name, weight] of group.weights) {
      if (kept.includes(name)) scales.set(name, await weight.toF32());
      else weights.set(name, weight);
    }
    facts[block.index] = group.facts as BlockFacts;
  };
  const finished = async (block: BlockSpec): Promise<ReadonlyMap<string, WeightTensor> | null> => {
    const group = await store.read(groupName(block));
    if (group === null) return null;
    resumed++;
    await take(block, group);
    return new Map(blockTensors(block).map(({ name }) => [name, weights.get(name)!]));
  };
  const coded = phase.steps
    .map(({ id }) => prepared.stagePlans.get(id)?.keyValueCache)
    .find((one) => one !== undefined);
  const calibrated = passes.some((pass) => blocks.some(({ linears }) => isCalibrated(pass, linears)));
  const run = { ...(signal && { signal }), ...(progress && { progress }) };
  const seed = prepared.recipe.seed ?? 0;
  if (calibrated) {
    const { inputs, order } = prepared.recipe.calibration ?? {};
    await runBlocks(model, {
      device,
      pool,
      windows,
      passes,
      seed,
      ...(memory && { batchTokens: memory.batchTokens }),
      ...(memory?.spill && { activations: spilledActivations({ directory: join(place, 'activations') }) }),
      ...(inputs && { inputs }),
      ...(order && { order }),
      ...run,
      finished,
      onBlock: async ({ block, weights: made, rewritten, notices, keyValueScales }) => {
        // What the runner noticed of the inputs is told with the first pass.
        log[0]!.interventions = [...notices, ...log[0]!.interventions];
        const changed = [...rewritten].map((name) => named(made.get(name)!, name));
        const found = coded ? scaleWeights(coded, keyValueScales) : [];
        await take(block, await store.write(groupName(block), [...changed, ...found], takeFacts(log)));
      },
    });
  } else {
    for (const block of blocks) {
      throwIfStopped(signal, 'compress');
      if ((await finished(block)) === null) {
        const made = await rewriteBlock(passes, block, weights, { device, pool, seed, ...(signal && { signal }) });
        await take(block, await store.write(groupName(block), made, takeFacts(log)));
      }
      progress?.({ phase: 'compress', item: block.path, done: block.index + 1, total: blocks.length, unit: 'block' });
    }
  }
  return {
    model: withChanges(input, phase.steps, weights, prepared, coded ? { ...keyValueForm(coded), scales } : null),
    facts: phase.steps.map((step, index) => ({
      id: step.id,
      records: Object.assign({}, ...facts.map(({ passes: parts }) => parts[index]!.records)) as Records,
      interventions: facts.flatMap(({ passes: parts }) => parts[index]!.interventions),
    })),
    resumed,
    total: blocks.length,
  };
}

async function runModelPhase(
  phase: ModelPhase,
  models: ReadonlyMap<string, StageModel>,
  store: WeightStore,
  place: string,
  options: RunPhasesOptions,
): Promise<PhaseRun> {
  const { prepared, windows, data, evaluationWindows, device, pool, signal, progress } = options;
  const [step] = phase.steps;
  const input = models.get(phase.from)!;
  const done = await readResult(store, input);
  if (done !== null) return { ...done, facts: [{ id: step.id, ...done.facts }], resumed: 1, total: 1 };
  const directory = join(place, 'state');
  await mkdir(directory, { recursive: true });
  const result = await step.technique.transform.apply(input.model, {
    device,
    pool,
    seed: prepared.recipe.seed ?? 0,
    windows: data.get(step.id) ?? windows,
    directory,
    teachers: step.teachers.map((id) => models.get(id)!.model),
    ...(evaluationWindows && { evaluationWindows }),
    ...(prepared.memoryBytes !== undefined && { memoryBytes: prepared.memoryBytes }),
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
  const stored = await writeResult(store, input, result);
  return { ...stored, facts: [{ id: step.id, ...stored.facts }], resumed: 0, total: 1 };
}

/** What a finished transform says beside its weights. */
interface ModelFacts {
  /** Groups that its weights lie in. */
  readonly groups: number;
  /** Weights that are those of its input, by their new name, in the order of the result among the others. */
  readonly order: readonly { readonly name: string; readonly input?: string }[];
  readonly config: { readonly set: Readonly<Record<string, unknown>>; readonly remove: readonly string[] };
  readonly records: Records;
  readonly interventions: readonly Intervention[];
}

/** Bytes of weights that are written as one group. */
const GROUP_BYTES = 256e6;

async function writeResult(store: WeightStore, input: StageModel, result: TransformResult) {
  const names = new Map([...input.model.weights].map(([name, weight]) => [weight, name]));
  const order: { name: string; input?: string }[] = [];
  let group: WeightTensor[] = [];
  let bytes = 0;
  let groups = 0;
  const flush = async (): Promise<void> => {
    if (group.length > 0) await store.write(`weights-${groups++}`, group, null);
    group = [];
    bytes = 0;
  };
  for (const [name, weight] of result.weights) {
    const same = names.get(weight);
    order.push(same === undefined ? { name } : { name, input: same });
    if (same !== undefined) continue;
    group.push(named(weight, name));
    bytes += weight.byteLength;
    if (bytes >= GROUP_BYTES) await flush();
  }
  await flush();
  const entries = Object.entries(result.config);
  const facts: ModelFacts = {
    groups,
    order,
    config: {
      set: Object.fromEntries(entries.filter(([, value]) => value !== undefined)),
      remove: entries.filter(([, value]) => value === undefined).map(([key]) => key),
    },
    records: result.records,
    interventions: result.interventions,
  };
  await store.write('result', [], facts);
  const stored = await readResult(store, input);
  if (stored !== null) return stored;
  throw new PithError('STAGE_NOT_STORED', 'store stage: what was written must read back, it does not; check the disk', {
    kind: 'internal',
  });
}

/** A transform's model as it was stored, or null where it is not there as a whole. */
async function readResult(store: WeightStore, input: StageModel) {
  const result = await store.read('result');
  if (result === null) return null;
  const facts = result.facts as ModelFacts;
  const made = new Map<string, WeightTensor>();
  for (let index = 0; index < facts.groups; index++) {
    const group = await store.read(`weights-${index}`);
    if (group === null) return null;
    for (const [name, weight] of group.weights) made.set(name, weight);
  }
  const weights = new Map<string, WeightTensor>();
  for (const { name, input: from } of facts.order) {
    const weight = from === undefined ? made.get(name) : input.model.weights.get(from);
    if (weight === undefined) return null;
    weights.set(name, named(weight, name));
  }
  const config: Record<string, unknown> = { ...input.config, ...facts.config.set };
  for (const key of facts.config.remove) delete config[key];
  const { records, interventions } = facts;
  return { model: stageModel(input, config, weights), facts: { records, interventions } };
}

/** The model that a walk over the blocks leaves: the config as the steps planned it. */
function withChanges(
  input: StageModel,
  steps: readonly Step[],
  weights: ReadonlyMap<string, WeightTensor>,
  { stagePlans }: PreparedRecipe,
  keyValueCache: KeyValueQuantization | null,
): StageModel {
  const config: Record<string, unknown> = { ...input.config };
  for (const { id } of steps) {
    for (const [key, value] of Object.entries(stagePlans.get(id)?.config ?? {})) {
      if (value === undefined) delete config[key];
      else config[key] = value;
    }
  }
  return stageModel(input, config, weights, keyValueCache);
}

function stageModel(
  { model }: StageModel,
  config: Readonly<Record<string, unknown>>,
  weights: ReadonlyMap<string, WeightTensor>,
  keyValueCache: KeyValueQuantization | null = null,
): StageModel {
  const { tokenizer, stopTokenIds } = model;
  return { config, model: { ...createModel({ config, weights, tokenizer, keyValueCache }), stopTokenIds } };
}

function groupName({ index }: BlockSpec): string {
  return `block-${index}`;
}

/** The weight under the name that it is known by. */
function named(weight: WeightTensor, name: string): WeightTensor {
  return weight.name === name ? weight : { ...weight, name };
}

/** Passes over one block that look at no text; returns the weights that they rewrote. */
async function rewriteBlock(
  passes: readonly BlockPass[],
  block: BlockSpec,
  model: ReadonlyMap<string, WeightTensor>,
  context: PassContext,
): Promise<WeightTensor[]> {
  const weights = new Map(blockTensors(block).map(({ name }) => [name, model.get(name)!]));
  const changed = new Set<string>();
  for (const pass of passes) {
    const result = await pass.apply({ block, linears: block.linears, weights, statistics: new Map() }, context);
    for (const [name, weight] of result.weights) {
      weights.set(name, weight);
      changed.add(name);
    }
  }
  return [...changed].map((name) => named(weights.get(name)!, name));
}

/** The pass, with what it does written down. */
function recorded(pass: BlockPass, log: PassFacts): BlockPass {
  const apply: BlockPass['apply'] = async (stage, context) => {
    const result = await pass.apply(stage, context);
    log.records = { ...log.records, ...result.records };
    log.interventions = [...log.interventions, ...result.interventions];
    return result;
  };
  const { keyValues } = pass;
  const scales: KeyValueCoding['scales'] = (ranges, block) => {
    const result = keyValues!.scales(ranges, block);
    const names = keyValueScaleNames(block)!;
    log.records = { ...log.records, [names.keys]: result.records.keys, [names.values]: result.records.values };
    return result;
  };
  // A pass is a plain object: what it has beside `apply` comes along.
  return { ...pass, apply, ...(keyValues && { keyValues: { ...keyValues, scales } }) };
}

/** What was written down since the last block. */
function takeFacts(log: PassFacts[]): BlockFacts {
  const passes = log.map(({ records, interventions }) => ({ records, interventions }));
  for (const entry of log) {
    entry.records = {};
    entry.interventions = [];
  }
  return { passes };
}

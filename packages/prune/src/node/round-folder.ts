// Rounds of iterative pruning on disk. Each is a folder `round-0002` that holds the model's weights that differ from the
// original's, and what is known of the rounds so far. It appears complete or not at all; the one before it goes afterwards.
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openCheckpoint, saveCheckpoint, workingDirectoryOf } from '@pith/checkpoint/node';
import { describeArchitecture, type LanguageModel, type ModelConfig } from '@pith/model';
import { denseWeight, factoredWeight, memoryBytes, PithError } from '@pith/tensor-core';
import type { ByteDType, DenseWeight, QuantizedWeight, WeightTensor } from '@pith/tensor-core';
import type { KeptRounds, RoundStore } from '../schedule/prune-iteratively.ts';

const FOLDER = /^round-(\d{4,})$/;
const ROUNDS_FILE = 'rounds.json';

/** What lies beside the weights. */
interface RoundsFile extends Omit<KeptRounds, 'model'> {
  readonly settings: string;
  readonly config: ModelConfig;
  /** Names of weights that are the original's. */
  readonly unchanged: readonly string[];
}

/**
 * Keeps rounds in a directory.
 *
 * @param original The model that pruning started from.
 * @param settings Whatever the run follows from, as text: rounds of other settings are refused.
 */
export function roundFolder(directory: string, original: LanguageModel, settings: string): RoundStore {
  return {
    read: async () => {
      const last = await newestRound(directory);
      return last === null ? null : readRounds(join(directory, last), original, settings);
    },
    save: async (kept) => {
      await mkdir(directory, { recursive: true });
      const name = `round-${String(kept.rounds.length).padStart(4, '0')}`;
      await writeRounds(join(directory, name), original, settings, kept);
      for (const other of await readdir(directory)) {
        if (FOLDER.test(other) && other !== name) await rm(join(directory, other), { recursive: true });
      }
    },
  };
}

async function writeRounds(
  target: string,
  original: LanguageModel,
  settings: string,
  { model, ...rest }: KeptRounds,
): Promise<void> {
  await rm(workingDirectoryOf(target), { recursive: true, force: true });
  await rm(target, { recursive: true, force: true });
  const entries = [...model.weights];
  const same = ([name, weight]: readonly [string, WeightTensor]) => original.weights.get(name) === weight;
  const unchanged = entries.filter(same).map(([name]) => name);
  const file: RoundsFile = { settings, ...rest, config: model.config, unchanged };
  await saveCheckpoint(target, {
    configText: '{}',
    weights: entries.filter((entry) => !same(entry)).map(([, weight]) => weight),
    files: { [ROUNDS_FILE]: JSON.stringify(file) },
  });
}

async function readRounds(folder: string, original: LanguageModel, settings: string): Promise<KeptRounds> {
  const file = JSON.parse(await readFile(join(folder, ROUNDS_FILE), 'utf8')) as RoundsFile;
  if (file.settings !== settings) {
    throw new PithError(
      'ROUNDS_SETTINGS',
      `resume iterative pruning: the rounds in ${folder} must come from the same settings; restore those settings or ` +
        'remove the folder to start anew',
      { details: { folder, saved: file.settings, settings } },
    );
  }
  const weights = new Map<string, WeightTensor>();
  for (const name of file.unchanged) weights.set(name, original.weights.get(name)!);
  const checkpoint = await openCheckpoint(folder);
  try {
    for (const [name, weight] of checkpoint.weights) weights.set(name, await inMemory(weight));
  } finally {
    await checkpoint.close();
  }
  const { config, perplexityBefore, rounds } = file;
  const { tokenizer, stopTokenIds } = original;
  const architecture = describeArchitecture(config);
  return { perplexityBefore, rounds, model: { config, architecture, weights, tokenizer, stopTokenIds } };
}

/** A copy that does not need the files any more. */
async function inMemory(weight: WeightTensor): Promise<WeightTensor> {
  if (weight.kind === 'dense') {
    const { name, shape, dtype } = weight;
    const source = memoryBytes((await weight.bytes()).slice());
    return denseWeight({ name, shape, dtype: dtype as ByteDType, source });
  }
  if (weight.kind === 'factored') {
    const left = (await inMemory(weight.left)) as DenseWeight | QuantizedWeight;
    const right = (await inMemory(weight.right)) as DenseWeight | QuantizedWeight;
    return factoredWeight({ name: weight.name, left, right });
  }
  throw new PithError('REPRESENTATION_UNSUPPORTED', `resume iterative pruning: ${weight.name} is ${weight.kind}`, {
    kind: 'internal',
    details: { tensor: weight.name, representation: weight.kind },
  });
}

async function newestRound(directory: string): Promise<string | null> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const rounds = names.filter((name) => FOLDER.test(name));
  return rounds.sort((a, b) => Number(a.slice(6)) - Number(b.slice(6))).at(-1) ?? null;
}

// Train states on disk. Each is a folder `step-00000500` with one safetensors file, which appears complete or not at all;
// the one before it is removed afterwards, so that a run that is killed at any moment finds a whole state again.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { planOutput, type OutputTensor } from '@pith/checkpoint';
import { openOutput, openSafetensorsFile, workingDirectoryOf } from '@pith/checkpoint/node';
import { PithError } from '@pith/tensor-core';
import type { HostTensor } from '@pith/tensor-core';
import { z } from 'zod';
import type { TrainState } from '../train/train-state.ts';

const FOLDER = /^step-(\d{8,})$/;
const BASE_NAME = 'state';

/**
 * Saves a state in `directory`, which is made if needed, and removes older ones.
 *
 * @param settings Whatever the run follows from (seeds, rates, sizes), as text: `readTrainState` asks for the same.
 * @throws PithError as `openOutput` does.
 */
export async function saveTrainState(directory: string, state: TrainState, settings: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const name = `step-${String(state.step).padStart(8, '0')}`;
  const target = join(directory, name);
  // What a killed run left half-written, and a state of the same step: this one is as good.
  await rm(workingDirectoryOf(target), { recursive: true, force: true });
  await rm(target, { recursive: true, force: true });
  const tensors = Object.entries(state.tensors);
  const layout = planOutput(
    tensors.map(([tensor, { shape }]): OutputTensor => ({ name: tensor, dtype: 'f32', shape })),
    {
      baseName: BASE_NAME,
      metadata: {
        format: 'pith-train-state',
        step: String(state.step),
        settings,
        recentLosses: JSON.stringify(state.recentLosses ?? []),
      },
    },
  );
  const output = await openOutput(target, layout);
  for (const [tensor, { data }] of tensors) {
    await output.write(tensor, 0, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  await output.finish();
  await output.publish();
  for (const other of await readdir(directory)) {
    const step = FOLDER.exec(other)?.[1];
    if (step !== undefined && Number(step) < state.step) await rm(join(directory, other), { recursive: true });
  }
}

/**
 * The newest state in `directory`; null where there is none.
 *
 * @throws PithError `TRAIN_STATE_SETTINGS` when it was saved with other settings; as `openSafetensorsFile` does for a
 * damaged file.
 */
export async function readTrainState(directory: string, settings: string): Promise<TrainState | null> {
  const step = await newestStep(directory);
  if (step === null) return null;
  const path = join(directory, step, `${BASE_NAME}.safetensors`);
  const file = await openSafetensorsFile(path);
  try {
    const saved = file.metadata.get('settings');
    if (saved !== settings) {
      throw new PithError(
        'TRAIN_STATE_SETTINGS',
        `resume training: the state in ${directory} must come from the same settings, got ${saved ?? 'none'} for ` +
          `${settings}; restore those settings or remove the folder to start anew`,
        { details: { directory, saved: saved ?? null, settings } },
      );
    }
    const tensors: Record<string, HostTensor<'f32'>> = {};
    for (const [name, { shape, source }] of file.tensors) {
      const data = new Float32Array(source.byteLength / 4);
      await source.readInto(0, new Uint8Array(data.buffer));
      tensors[name] = { dtype: 'f32', shape, data };
    }
    const recentLosses = z.array(z.number()).parse(JSON.parse(file.metadata.get('recentLosses') ?? '[]'));
    return { step: Number(file.metadata.get('step')), tensors, recentLosses };
  } finally {
    await file.close();
  }
}

async function newestStep(directory: string): Promise<string | null> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const steps = names.filter((name) => FOLDER.test(name));
  return steps.sort((a, b) => Number(a.slice(5)) - Number(b.slice(5))).at(-1) ?? null;
}

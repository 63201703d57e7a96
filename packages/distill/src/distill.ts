// Distillation: a student is trained on what a teacher says about a text (Hinton et al. 2015; Sanh et al. 2019).
import { causalStates, trainableModel, trainerParts, trainRun } from '@pith/model';
import type {
  BatchSource,
  LanguageModel,
  NamedTensors,
  StepRecord,
  TrainableModel,
  TrainFolder,
  TrainRunResult,
} from '@pith/model';
import { PithError } from '@pith/tensor-core';
import type { Device, RunOptions, WeightTensor } from '@pith/tensor-core';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import type { DistillConfig } from './distill-config.ts';
import { buildLoss, needsStates, type BuiltLoss, type TeacherView } from './losses/build-loss.ts';
import { requireSameVocabulary } from './student/compare-vocabularies.ts';
import { cachedBatches, cachedView, type TeacherCache } from './teacher/teacher-cache.ts';
import { liveTeachers } from './teacher/live-teachers.ts';

/** What every distillation needs beside its configuration. */
export interface DistillContext extends RunOptions {
  /** Where the step program runs. */
  readonly device: Device;
  /** The text, int32 [context] each: a token that opens the window and those that are predicted. */
  readonly windows: readonly Int32Array[];
  /** Decides the order of the windows and everything random. */
  readonly seed: number;
  /** Where the run keeps what it needs to go on after a kill; nowhere when left out. */
  readonly folder?: TrainFolder;
  /** Receives each step's record: loss, its parts, rate. */
  readonly onStep?: (record: StepRecord) => void | Promise<void>;
}

/** What {@link distill} needs. */
export interface DistillInput extends DistillContext {
  /** The student to start from. */
  readonly student: LanguageModel;
  /** Teachers, the main one first; may be empty where a cache takes their place, or where all terms are hard. */
  readonly teachers: readonly LanguageModel[];
  /** What was kept of a teacher, in the place of live ones. */
  readonly cache?: TeacherCache;
  /** How; made by `distillConfig`. Where the student comes from and generations are the caller's business. */
  readonly config: DistillConfig;
}

/** What {@link distill} gives. */
export interface DistillResult {
  /** All weights of the student by checkpoint name; what was not trained is what it was. */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** Names of the parameters that were trained. */
  readonly trained: readonly string[];
  /** Matrices whose zeros were kept. */
  readonly zerosKept: readonly string[];
  /** The course of the run. */
  readonly run: TrainRunResult;
}

/**
 * Trains a student. The teachers' forward pass is part of the compiled step; with a cache no teacher runs.
 *
 * All weights of student and teachers lie in memory as f32, and three times as much for what is trained.
 *
 * @throws PithError `DISTILL_TEACHER_MISSING`, `DISTILL_TEACHERS`, `DISTILL_VOCABULARY`, `DISTILL_LOSS_INVALID`,
 * `DISTILL_TOKENS`, `TRAINABLE_INVALID`, `TRAIN_DATA_TOO_SHORT`, `TRAINING_DIVERGED`, `STOPPED`.
 */
export async function distill(input: DistillInput): Promise<DistillResult> {
  const { student, teachers, cache, config, windows, seed, device } = input;
  checkTeachers(input);
  checkTokens(windows, student);
  for (const teacher of teachers) requireSameVocabulary(student, teacher, windows);
  const taken = await trainableModel(student, { trainable: config.trainable, keepZeros: config.keepZeros, seed });
  const live = cache === undefined ? await liveTeachers(teachers, mixtureOf(config)) : undefined;
  const loss = buildLoss(config.loss, {
    student: student.architecture,
    teacher: (teachers[0] ?? student).architecture,
    steps: config.steps,
    seed,
  });
  const { batches, ...parts } = trainerParts(config, windows, seed);
  const source: BatchSource = cache === undefined ? batches : cachedBatches(batches, cache);
  const run = await trainRun(
    {
      ...parts,
      batches: source,
      parameters: { ...taken.parameters, ...loss.parameters },
      frozen: { ...taken.frozen, ...live?.frozen },
      masks: taken.masks,
      numbers: (step) => loss.numbers(step),
      loss: (tensors, batch) =>
        studentLoss(taken, loss, tensors, batch, (ids) =>
          live === undefined ? cachedView(batch) : live.view(tensors, ids),
        ),
      device,
    },
    runOptions(input),
  );
  return {
    weights: await taken.merge(run.parameters),
    trained: Object.keys(taken.parameters),
    zerosKept: Object.keys(taken.masks),
    run,
  };
}

/** The loss of one student in a step program. */
export function studentLoss(
  student: TrainableModel,
  loss: BuiltLoss,
  tensors: NamedTensors,
  batch: NamedTensors,
  teacher: (ids: Tensor2D) => TeacherView,
): ReturnType<BuiltLoss['compute']> {
  const ids = batch['ids'] as Tensor2D;
  const states = causalStates(student.architecture, tensors, ids, student.hook(tensors));
  const view = { states, targets: batch['targets'] as Tensor2D };
  return loss.compute(view, teacher(ids), tensors as Readonly<Record<string, Tensor>>, batch);
}

/** Options of the run that follow from context and configuration. */
export function runOptions({
  config,
  folder,
  signal,
  progress,
  onStep,
}: Pick<DistillInput, 'config' | 'folder' | 'signal' | 'progress' | 'onStep'>) {
  return {
    steps: config.steps,
    ...(config.saveEvery !== undefined && { saveEvery: config.saveEvery }),
    ...(folder && { folder }),
    ...(signal && { signal }),
    ...(progress && { progress }),
    ...(onStep && { onStep }),
  };
}

const mixtureOf = ({ combine, teacherWeights }: DistillConfig) => ({
  combine,
  ...(teacherWeights && { weights: teacherWeights }),
});

function checkTeachers({ teachers, cache, config }: DistillInput): void {
  const soft = config.loss.some(({ kind }) => kind === 'soft');
  if (teachers.length === 0 && (needsStates(config.loss) || (soft && cache === undefined))) {
    throw new PithError(
      'DISTILL_TEACHER_MISSING',
      'distill: the loss asks for a teacher, got none; name a teacher, or take the hard term alone',
    );
  }
  const { teacherWeights } = config;
  if (teacherWeights !== undefined && teacherWeights.length !== teachers.length) {
    throw new PithError(
      'DISTILL_TEACHERS',
      `distill: teacherWeights must be one for each teacher, got ${teacherWeights.length} for ${teachers.length}`,
      { details: { teachers: teachers.length, teacherWeights } },
    );
  }
}

/** Refuses tokens that the student has no embedding for. @throws PithError `DISTILL_TOKENS`. */
export function checkTokens(windows: readonly Int32Array[], { config }: Pick<LanguageModel, 'config'>): void {
  for (const [index, window] of windows.entries()) {
    const wrong = window.findIndex((id) => id < 0 || id >= config.vocabularySize);
    if (wrong < 0) continue;
    throw new PithError(
      'DISTILL_TOKENS',
      `distill: tokens must be below the vocabulary size ${config.vocabularySize}, got ${window[wrong]} in window ${index}; ` +
        'does the text belong to this tokenizer?',
      { details: { window: index, position: wrong, id: window[wrong] } },
    );
  }
}

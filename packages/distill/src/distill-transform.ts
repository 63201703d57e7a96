// Distillation as a stage of a pipeline.
import type { LanguageModel, ModelTransform, TrainFolder, TransformContext, TransformResult } from '@pith/model';
import { PithError } from '@pith/tensor-core';
import type { WeightTensor } from '@pith/tensor-core';
import { requireSameVocabulary } from './student/compare-vocabularies.ts';
import { distill, type DistillResult } from './distill.ts';
import { distillConfig, type DistillConfig, type DistillOptions } from './distill-config.ts';
import { mutualDistill } from './mutual.ts';
import { planDistill } from './plan-distill.ts';
import { makeStudent, type MadeStudent } from './student/student-spec.ts';
import type { TeacherCache } from './teacher/teacher-cache.ts';
import { describeStudentConfig } from './student/config-members.ts';

/**
 * Trains the model of the stage, or a student made of it, on what the teachers of the context say about its windows.
 * Without a teacher the model teaches the student that is made of it.
 *
 * The context's directory holds the state to resume from, the loss curve (`loss.jsonl`) and the cache of the teacher.
 * `apply` throws what `distill` throws, and PithError `DISTILL_DIRECTORY` for a cache without a directory.
 *
 * @throws PithError what `distillConfig` throws.
 */
export function distillTransform(options: DistillOptions): ModelTransform {
  const config = distillConfig(options);
  return Object.freeze<ModelTransform>({
    name: 'distill',
    config: { ...config },
    calibrated: true,
    plan: (model, teachers) => planDistill(model, config, teachers),
    apply: (model, context) => applyDistill(model, config, context),
  });
}

/** The course of one training, for the receipt. */
const runRecord = ({ run, trained, zerosKept }: Pick<DistillResult, 'run'> & Partial<DistillResult>) => ({
  finalLoss: run.finalLoss,
  curve: run.curve.map((record) => ({ ...record })),
  ...(trained && { trainedTensors: trained.length }),
  ...(zerosKept && { zerosKept: [...zerosKept] }),
});

async function applyDistill(
  model: LanguageModel,
  config: DistillConfig,
  context: TransformContext,
): Promise<TransformResult> {
  const made = makeStudent(config.student, model, context.seed);
  const given = context.teachers ?? [];
  // Layers of a model, or a smaller config for it, learn from that model unless another teacher is named.
  const teachers = given.length === 0 && config.student.kind !== 'model' ? [model] : given;
  const { weights, runs } = config.mutual
    ? await mutual(made.model, teachers, config, context)
    : await generations(made.model, teachers, config, context);
  return {
    weights,
    config: config.student.kind === 'model' ? {} : describeStudentConfig(config.student, made.model.config),
    records: { ...tensorRecords(made, model), ...runs },
    interventions: [],
  };
}

type Outcome = {
  readonly weights: ReadonlyMap<string, WeightTensor>;
  readonly runs: TransformResult['records'];
};

async function generations(
  student: LanguageModel,
  teachers: readonly LanguageModel[],
  config: DistillConfig,
  context: TransformContext,
): Promise<Outcome> {
  const runs: Record<string, Readonly<Record<string, unknown>>> = {};
  let current = teachers;
  let weights = student.weights;
  for (let generation = 0; generation < config.generations; generation++) {
    const part = config.generations === 1 ? '' : `generation-${generation}`;
    const folder = await folderOf(context, config, part);
    const cache = await cacheOf(student, current, config, context);
    const result = await distill({
      ...contextOf(context, folder),
      student,
      teachers: current,
      config,
      ...(cache && { cache }),
    }).finally(() => cache?.close());
    runs[part === '' ? 'training' : part] = runRecord(result);
    weights = result.weights;
    // What was learnt teaches the next, which starts as this one did (Furlanello et al. 2018).
    current = [{ ...student, weights }];
  }
  return { weights, runs };
}

async function mutual(
  student: LanguageModel,
  teachers: readonly LanguageModel[],
  config: DistillConfig,
  context: TransformContext,
): Promise<Outcome> {
  const [peer] = teachers;
  if (peer === undefined) {
    throw new PithError(
      'DISTILL_TEACHER_MISSING',
      'distill: mutual learning needs a second student, got none; name one as teacher',
    );
  }
  const folder = await folderOf(context, config, '');
  const { weights, run } = await mutualDistill({
    ...contextOf(context, folder),
    students: [student, peer],
    config,
  });
  return { weights: weights[0], runs: { training: runRecord({ run }) } };
}

function contextOf({ device, windows, seed, signal, progress }: TransformContext, folder: TrainFolder | undefined) {
  return {
    ...{ device, windows, seed },
    ...(signal && { signal }),
    ...(progress && { progress }),
    ...(folder && { folder }),
  };
}

/** A part of the directory to resume from; loaded when there is one, so that the rest of this package needs no files. */
async function folderOf(
  { directory, seed }: TransformContext,
  config: DistillConfig,
  part: string,
): Promise<TrainFolder | undefined> {
  if (directory === undefined) return undefined;
  const { trainFolder } = await import('@pith/model/node');
  return trainFolder(part === '' ? directory : `${directory}/${part}`, JSON.stringify({ config, seed }));
}

async function cacheOf(
  student: LanguageModel,
  teachers: readonly LanguageModel[],
  config: DistillConfig,
  context: TransformContext,
): Promise<(TeacherCache & { close(): void }) | undefined> {
  const { cacheTop, loss } = config;
  if (cacheTop === undefined) return undefined;
  const { directory } = context;
  const [teacher, ...others] = teachers;
  const term = loss.find((candidate) => candidate.kind === 'soft');
  if (teacher === undefined || others.length > 0 || term?.kind !== 'soft') {
    throw new PithError(
      'DISTILL_TEACHERS',
      `distill: a cache is kept of one teacher, got ${teachers.length}; leave cacheTop out to train from several`,
      { details: { teachers: teachers.length } },
    );
  }
  if (directory === undefined) {
    throw new PithError(
      'DISTILL_DIRECTORY',
      'distill: a cache of the teacher needs a directory, got none; leave cacheTop out',
    );
  }
  requireSameVocabulary(student, teacher, context.windows);
  const { writeTeacherCache } = await import('./node/teacher-cache-file.ts');
  const { device, windows, signal, progress } = context;
  return writeTeacherCache(`${directory}/teacher-cache`, teacher, {
    ...{ device, windows, top: cacheTop, temperature: term.temperature },
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
}

/** What each tensor of the student was made from. */
function tensorRecords({ copiedFrom, model }: MadeStudent, source: LanguageModel): TransformResult['records'] {
  if (model === source) return {};
  return Object.fromEntries(
    Object.entries(copiedFrom).map(([name, from]) => [
      name,
      from === null ? { start: 'random' } : { start: 'copied', from },
    ]),
  );
}

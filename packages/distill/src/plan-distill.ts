// What a distillation will do to each tensor, from headers alone.
import {
  afterPlan,
  configOfLayers,
  describeArchitecture,
  expectedTensors,
  layerMembers,
  layerNames,
  readModelConfig,
  selectTrained,
} from '@pith/model';
import type {
  Architecture,
  PlannedModel,
  PlannedWeight,
  TechniquePlan,
  TechniqueProblem,
  WeightChange,
} from '@pith/model';
import { byteLengthOf, isPithError } from '@pith/tensor-core';
import type { DType, WeightTensor } from '@pith/tensor-core';
import type { DistillConfig } from './distill-config.ts';
import { layerProblem, randomDType } from './student/student-spec.ts';

/** The plan of a distillation; `teachers` is how many other models teach, where that is known. */
export function planDistill(model: PlannedModel, config: DistillConfig, teachers?: number): TechniquePlan {
  const student = planStudent(model, config);
  const untaught = teachers === undefined ? [] : teacherProblems(config, teachers);
  if (student.problems.length + untaught.length > 0) {
    return { ...student, problems: [...student.problems, ...untaught] };
  }
  const after = afterPlan(model, student);
  const training = planTraining(after.architecture, after.weights, config);
  const trained = new Map(training.changes.map((change) => [change.name, change]));
  const changes = student.changes.map((change): WeightChange => {
    const then = change.after === null ? undefined : trained.get(change.after.name);
    if (then === undefined) return change;
    trained.delete(then.name);
    return { ...then, name: change.name, reason: `${change.reason}, then ${then.reason}` };
  });
  return {
    changes: [...changes, ...trained.values()],
    problems: training.problems,
    notices: notices(config),
    ...(student.config && { config: student.config }),
  };
}

/** What the number of teachers does not go with. */
function teacherProblems(
  { loss, student, mutual, cacheTop, teacherWeights }: DistillConfig,
  named: number,
): TechniqueProblem[] {
  // A student that is made of the model learns from that model where no other teaches.
  const teachers = named === 0 && student.kind !== 'model' ? 1 : named;
  const refuse = (code: string, message: string): TechniqueProblem[] => [{ code, name: 'teacher', message }];
  if (teachers === 0 && (mutual || loss.some(({ kind }) => kind !== 'hard'))) {
    const what = mutual ? 'mutual learning asks for a second student' : 'the loss asks for a teacher';
    return refuse('DISTILL_TEACHER_MISSING', `${what}, got none; name one as teacher, such as source`);
  }
  if (cacheTop !== undefined && teachers !== 1) {
    return refuse(
      'DISTILL_TEACHERS',
      `a cache is kept of one teacher, got ${teachers}; leave cacheTop out to train from several`,
    );
  }
  if (teacherWeights !== undefined && teacherWeights.length !== teachers) {
    return refuse(
      'DISTILL_TEACHERS',
      `teacherWeights must be one for each teacher, got ${teacherWeights.length} for ${teachers}`,
    );
  }
  return [];
}

function notices({ loss, steps, student, generations, mutual, cacheTop }: DistillConfig): string[] {
  const notes = [`trains for ${steps} steps${generations > 1 ? ` in each of ${generations} generations` : ''}`];
  if (student.kind === 'random') notes.push('every weight of the student starts from random numbers');
  if (mutual) notes.push('the second student is trained too and not kept');
  if (cacheTop !== undefined)
    notes.push(`keeps the ${cacheTop} most likely tokens of the teacher at each position on the disk`);
  if (loss.every(({ kind }) => kind === 'hard')) notes.push('no term reads a teacher: this is training on the text');
  return notes;
}

type StudentPlan = TechniquePlan;

function planStudent({ config: json, architecture, weights }: PlannedModel, config: DistillConfig): StudentPlan {
  const { student } = config;
  const none = { changes: [], problems: [], notices: [] };
  if (student.kind === 'model') return none;
  const refuse = (code: string, message: string): StudentPlan => ({
    ...none,
    problems: [{ code, name: 'student', message }],
  });
  if (student.kind === 'layers') {
    const problem = layerProblem(student.layers, architecture.config.layers);
    if (problem !== null) return refuse('DISTILL_STUDENT', problem);
    const paths = architecture.blocks.map(({ path }) => path);
    const names = layerNames(weights.keys(), paths, student.layers);
    const changes = [...weights.values()].flatMap((weight): WeightChange[] => {
      const to = names.get(weight.name);
      if (to === weight.name) return [];
      if (to === undefined)
        return [{ name: weight.name, action: 'remove', reason: 'its layer is not in the student', after: null }];
      return [{ name: weight.name, action: 'copy', reason: 'its layer moves up', after: { ...weight, name: to } }];
    });
    return { ...none, changes, config: layerMembers(configOfLayers(architecture.config, student.layers)) };
  }
  let own: Architecture;
  try {
    own = describeArchitecture(readModelConfig(student.config));
  } catch (error) {
    if (!isPithError(error)) throw error;
    return refuse(error.code, `the student's config: ${error.message}`);
  }
  const { vocabularySize } = architecture.config;
  if (own.config.vocabularySize !== vocabularySize) {
    return refuse(
      'DISTILL_VOCABULARY',
      `the student must have the vocabulary of the teacher, ${vocabularySize} tokens, got ${own.config.vocabularySize}`,
    );
  }
  const dtype = randomDType(own.config.storedDType);
  const wanted = new Map(expectedTensors(own).map((tensor) => [tensor.name, tensor]));
  const made = (name: string, shape: readonly number[]): PlannedWeight => ({
    ...{ name, shape, kind: 'dense', dtype },
    byteLength: byteLengthOf(
      dtype,
      shape.reduce((a, b) => a * b, 1),
    ),
  });
  const changes = [
    ...[...weights.keys()]
      .filter((name) => !wanted.has(name))
      .map((name): WeightChange => ({ name, action: 'remove', reason: 'the student has no such tensor', after: null })),
    ...[...wanted.values()].map(({ name, shape }): WeightChange => ({
      name,
      action: 'train',
      reason: 'random numbers',
      after: made(name, shape),
    })),
  ];
  const removed = Object.keys(json).filter((key) => !(key in student.config));
  return {
    ...none,
    changes,
    config: { ...student.config, ...Object.fromEntries(removed.map((key) => [key, undefined])) },
  };
}

function planTraining(
  architecture: Architecture,
  weights: ReadonlyMap<string, PlannedWeight>,
  { trainable }: DistillConfig,
): { changes: WeightChange[]; problems: TechniqueProblem[] } {
  const kinds = new Map<string, WeightTensor['kind']>([...weights].map(([name, { kind }]) => [name, kind]));
  const { names, problems } = selectTrained(architecture, kinds, trainable);
  const how = trainable.kind === 'lora' ? 'an addition of small matrices, merged' : 'learns from the teacher';
  return {
    changes: names.map((name) => ({ name, action: 'train', reason: how, after: afterTraining(weights.get(name)!) })),
    problems: problems.map((message) => ({ code: 'TRAINABLE_INVALID', name: 'trainable', message })),
  };
}

/** A sparse weight becomes a dense one with the same zeros; others keep their form. */
function afterTraining(weight: PlannedWeight): PlannedWeight {
  if (weight.kind === 'factored') return weight;
  const dtype: DType = weight.dtype === 'bf16' || weight.dtype === 'f16' ? weight.dtype : 'f32';
  const { name, shape, sparsity } = weight;
  const byteLength = byteLengthOf(
    dtype,
    shape.reduce((a, b) => a * b, 1),
  );
  return { name, shape, dtype, kind: 'dense', byteLength, ...(sparsity !== undefined && { sparsity }) };
}

// Quantization-aware training: the model is trained as it will be when it is quantized, weights and step sizes together
// (LSQ: Esser et al. 2020), by default towards the distributions of the dense model.
import { causalStates, crossEntropy, softTargetLoss, trainableModel, trainerParts, trainRun } from '@pith/model';
import type {
  LanguageModel,
  LinearSpec,
  ModelTransform,
  NamedTensors,
  PlannedModel,
  TechniquePlan,
  TrainableModel,
  TransformContext,
  TransformResult,
} from '@pith/model';
import { factorNames, PithError, type HostTensor, type WeightTensor } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor2D } from '@tensorflow/tfjs-core';
import { schemeOfLinears, selectionOf } from '../pass/pass-options.ts';
import { planRounding } from '../pass/plan-rounding.ts';
import { selectLinears } from '../pass/select-linears.ts';
import { qatConfig, type QatConfig, type QatOptions } from './qat-config.ts';
import {
  joined,
  qatConstants,
  qatMatrices,
  qatSteps,
  quantizeTrained,
  roundedWeights,
  stepName,
} from './qat-weights.ts';

/**
 * Trains a model as it will be when it is quantized, and quantizes it: integers per channel or group, symmetric or with zero
 * points (which stay as rounding to nearest chose them).
 *
 * Soft targets come from the first teacher of the context, or from the model itself as it is.
 * `apply` throws PithError `QAT_TEACHER`, `TRAIN_DATA_TOO_SHORT`, `TRAINING_DIVERGED`, `STOPPED`.
 *
 * @throws PithError `CONFIG_INVALID` with every bad option.
 */
export function qatTransform(options: QatOptions): ModelTransform {
  const config = qatConfig(options);
  return Object.freeze<ModelTransform>({
    name: 'qat',
    config: { ...config },
    calibrated: true,
    plan: (model) => planQat(model, config),
    apply: (model, context) => applyQat(model, config, context),
  });
}

function planQat(model: PlannedModel, config: QatConfig): TechniquePlan {
  const reason = `${config.steps} steps of quantization-aware training, ${config.scheme.name}`;
  const { changes, problems, notices } = planRounding(model, config, reason);
  const rounded = new Set(changes.map(({ name }) => name));
  if (config.train !== 'all') return { changes, problems, notices };
  const others = [...model.weights.values()].filter(({ name, kind }) => !rounded.has(name) && kind === 'dense');
  const trained = others.map((weight) => ({
    name: weight.name,
    action: 'train',
    reason: 'learns with the rounded weights',
    after: weight,
  }));
  return { changes: [...changes, ...trained], problems, notices };
}

async function applyQat(model: LanguageModel, config: QatConfig, context: TransformContext): Promise<TransformResult> {
  const { device, windows, seed, pool } = context;
  const teacher = context.teachers?.[0] ?? model;
  if (config.soft > 0 && teacher.config.vocabularySize !== model.config.vocabularySize) {
    throw new PithError(
      'QAT_TEACHER',
      `qat: the teacher must have the vocabulary of the model, ${model.config.vocabularySize} tokens, got ` +
        `${teacher.config.vocabularySize}`,
      { details: { model: model.config.vocabularySize, teacher: teacher.config.vocabularySize } },
    );
  }
  const { linears } = selectLinears(model, selectionOf(config));
  const schemeOf = schemeOfLinears(config);
  const names = linears.map(({ name }) => name);
  const coded = linears.map((linear) => ({ name: linear.name, scheme: schemeOf(linear) }));
  const matrices = await qatMatrices(model, coded, config.range, pool);
  const taken = await trainedParts(model, linears, config, seed);
  const target = config.soft > 0 ? await frozenTeacher(teacher) : { frozen: {}, logits: undefined };
  const steps = qatSteps(matrices);
  const { batches, ...parts } = trainerParts(config, windows, seed);
  const run = await trainRun(
    {
      ...parts,
      batches,
      parameters: { ...taken.parameters, ...steps },
      frozen: { ...taken.frozen, ...qatConstants(matrices), ...target.frozen },
      masks: taken.masks,
      rateScale: (name) => (name in steps ? config.stepRate : 1),
      loss: (tensors, batch) => {
        const ids = batch['ids'] as Tensor2D;
        const { logits } = causalStates(model.architecture, roundedWeights(matrices, tensors), ids);
        const terms: Record<string, Scalar> = {};
        const weighted: Scalar[] = [];
        if (target.logits !== undefined) {
          terms['soft'] = softTargetLoss(logits, target.logits(tensors, ids), { temperature: config.temperature });
          weighted.push(tf.mul(terms['soft'], config.soft));
        }
        if (config.hard > 0) {
          terms['hard'] = crossEntropy(logits, batch['targets'] as Tensor2D);
          weighted.push(tf.mul(terms['hard'], config.hard));
        }
        return { loss: weighted.length === 1 ? weighted[0]! : (tf.addN(weighted) as Scalar), terms };
      },
      device,
    },
    {
      steps: config.steps,
      ...(config.saveEvery !== undefined && { saveEvery: config.saveEvery }),
      ...(context.signal && { signal: context.signal }),
      ...(context.progress && { progress: context.progress }),
      ...(context.directory !== undefined && { folder: await folderOf(context.directory, config, seed) }),
    },
  );
  const values = { ...taken.frozen, ...run.parameters };
  const weights = new Map(await taken.merge(run.parameters));
  const records: Record<string, Record<string, unknown>> = {};
  for (const name of names) {
    const before = model.weights.get(name)!;
    const { left, right } = factorNames(name);
    const own = before.kind === 'factored' ? [right, left] : [name];
    const quantized = own.map((part) => {
      const matrix = matrices.find((candidate) => candidate.name === part)!;
      return quantizeTrained(matrix, values[part]!.data, values[stepName(part)]!.data);
    });
    const after = joined(name, before, quantized);
    weights.set(name, after);
    records[name] = await recordOf(
      before,
      after,
      own.map((part) => values[stepName(part)]!),
    );
  }
  const curve = run.curve.map((record) => ({ ...record }));
  return {
    weights,
    config: {},
    records: { ...records, training: { finalLoss: run.finalLoss, curve } },
    interventions: [],
  };
}

/** What is trained beside the step sizes, by `train`. */
async function trainedParts(
  model: LanguageModel,
  linears: readonly LinearSpec[],
  { train }: QatConfig,
  seed: number,
): Promise<TrainableModel> {
  if (train === 'all') return trainableModel(model, { trainable: { kind: 'all' }, seed });
  if (train === 'linears') {
    const include = linears.map(({ path }) => path);
    return trainableModel(model, { trainable: { kind: 'modules', include }, seed });
  }
  const parts = await trainableModel(model, { trainable: { kind: 'norms' }, seed });
  return { ...parts, parameters: {}, frozen: { ...parts.frozen, ...parts.parameters } };
}

const TEACHER = 'teacher:';

/** The teacher's weights by names of their own, and its logits inside of the program. */
async function frozenTeacher(model: LanguageModel) {
  const {
    parameters,
    frozen: others,
    architecture,
  } = await trainableModel(model, {
    trainable: { kind: 'norms' },
    seed: 0,
  });
  const names = [...Object.keys(parameters), ...Object.keys(others)];
  const frozen: Record<string, HostTensor<'f32'>> = {};
  for (const name of names) frozen[TEACHER + name] = parameters[name] ?? others[name]!;
  return {
    frozen,
    logits: (tensors: NamedTensors, ids: Tensor2D) => {
      const weights = Object.fromEntries(names.map((name) => [name, tensors[TEACHER + name]!]));
      return causalStates(architecture, weights, ids).logits;
    },
  };
}

/** Loaded when there is a directory, so that the rest needs no files. */
async function folderOf(directory: string, config: QatConfig, seed: number) {
  const { trainFolder } = await import('@pith/model/node');
  return trainFolder(directory, JSON.stringify({ config, seed }));
}

/** How the quantized weight differs from the dense one that training started from, and how far step sizes moved. */
async function recordOf(before: WeightTensor, after: WeightTensor, steps: readonly HostTensor<'f32'>[]) {
  const [a, b] = [await before.toF32(), await after.toF32()];
  let squaredError = 0;
  let squares = 0;
  for (let i = 0; i < a.length; i++) {
    squaredError += (b[i]! - a[i]!) ** 2;
    squares += a[i]! ** 2;
  }
  let lowest = Infinity;
  let highest = -Infinity;
  for (const { data } of steps) {
    for (const factor of data) {
      lowest = Math.min(lowest, factor);
      highest = Math.max(highest, factor);
    }
  }
  return {
    mse: squaredError / a.length,
    signalToNoise: squaredError === 0 ? null : 10 * Math.log10(squares / squaredError),
    stepFactors: [lowest, highest],
  };
}

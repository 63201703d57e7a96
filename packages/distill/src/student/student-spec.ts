// Where a student comes from: a model as it is, some layers of it, or a config with random weights.
import {
  createModel,
  describeArchitecture,
  expectedTensors,
  initialParameters,
  keepLayers,
  layerNames,
  readModelConfig,
} from '@pith/model';
import type { LanguageModel } from '@pith/model';
import { denseWeight, fromF32, memoryBytes, PithError } from '@pith/tensor-core';
import type { WeightTensor } from '@pith/tensor-core';
import { z } from 'zod';

/** A model as it is: a pruned one, a smaller one. */
export interface ModelStudent {
  /** Tells the union apart. */
  readonly kind: 'model';
}

/** Some layers of a model, with everything outside of the layers. */
export interface LayersStudent {
  /** Tells the union apart. */
  readonly kind: 'layers';
  /** Indices from 0, ascending. */
  readonly layers: readonly number[];
}

/** A config with random weights, and the tokenizer of the model. */
export interface RandomStudent {
  /** Tells the union apart. */
  readonly kind: 'random';
  /** A parsed config.json. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Where a student comes from. */
export type StudentSpec = ModelStudent | LayersStudent | RandomStudent;

/** The schema of a student; for configurations that contain one. */
export const studentSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    /** A model as it is. */
    kind: z.literal('model'),
  }),
  z.strictObject({
    /** Some layers of a model. */
    kind: z.literal('layers'),
    /** Indices from 0, ascending. */
    layers: z
      .array(z.int().min(0).max(65535))
      .min(1)
      .refine((layers) => layers.every((layer, i) => i === 0 || layer > layers[i - 1]!), {
        error: 'must be ascending, each once',
      }),
  }),
  z.strictObject({
    /** A config with random weights. */
    kind: z.literal('random'),
    /** A parsed config.json. */
    config: z.record(z.string(), z.unknown()),
  }),
]);

/** Reads `model` or `layers=0,2,4`; anything else is handed on to be checked. */
export function readStudent(given: unknown): unknown {
  if (typeof given !== 'string') return given;
  const text = given.trim();
  if (text === 'model') return { kind: 'model' };
  const layers = /^layers=([\d, ]+)$/.exec(text)?.[1];
  return layers === undefined ? { kind: text } : { kind: 'layers', layers: layers.split(',').map(Number) };
}

/** A student, and what became of which tensor. */
export interface MadeStudent {
  /** The student. */
  readonly model: LanguageModel;
  /** For each tensor of the student the tensor that it was copied from; null for random numbers. */
  readonly copiedFrom: Readonly<Record<string, string | null>>;
}

/**
 * Makes the student.
 *
 * @param source The model that it is made of; the teacher, for layers of the teacher.
 * @throws PithError `DISTILL_STUDENT` for layers that the source has not, what `createModel` throws for a random one.
 */
export function makeStudent(spec: StudentSpec, source: LanguageModel, seed: number): MadeStudent {
  const own = Object.fromEntries([...source.weights.keys()].map((name) => [name, name]));
  if (spec.kind === 'model') return { model: source, copiedFrom: own };
  if (spec.kind === 'layers') {
    const problem = layerProblem(spec.layers, source.config.layers);
    if (problem !== null) throw new PithError('DISTILL_STUDENT', `distill: ${problem}`, { details: { ...spec } });
    const model = keepLayers(source, spec.layers);
    const paths = source.architecture.blocks.map(({ path }) => path);
    const names = layerNames(source.weights.keys(), paths, spec.layers);
    return { model, copiedFrom: Object.fromEntries([...names].map(([from, to]) => [to, from])) };
  }
  const config = readModelConfig(spec.config);
  const architecture = describeArchitecture(config);
  const parameters = initialParameters(architecture, { seed });
  const dtype = randomDType(config.storedDType);
  const weights = new Map(
    expectedTensors(architecture).map(({ name, shape }): [string, WeightTensor] => [
      name,
      denseWeight({ name, dtype, shape, source: memoryBytes(fromF32(dtype, parameters[name]!.data)) }),
    ]),
  );
  const model = createModel({ config: spec.config, weights, tokenizer: source.tokenizer });
  return { model, copiedFrom: Object.fromEntries([...weights.keys()].map((name) => [name, null])) };
}

/** What random weights are stored in: what the config says, f32 where it is silent. */
export function randomDType(stored: string | null): 'f32' | 'f16' | 'bf16' {
  return stored === 'bfloat16' ? 'bf16' : stored === 'float16' ? 'f16' : 'f32';
}

/** Why these layers cannot be taken; null where they can. */
export function layerProblem(layers: readonly number[], all: number): string | null {
  const missing = layers.filter((layer) => layer >= all);
  return missing.length === 0
    ? null
    : `layers of the student must be below ${all}, got ${missing.join(', ')}; the source has layers 0 to ${all - 1}`;
}

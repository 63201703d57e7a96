// A model from a folder for tests that must not depend on the readers of @pith/checkpoint: weights in memory, f32.
import { existsSync, readFileSync } from 'node:fs';
import type { WeightTensor } from '@pith/tensor-core';
import { expectedTensors } from '../architecture/expected-tensors.ts';
import { describeArchitecture } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';
import { createModel } from '../language-model.ts';
import type { LanguageModel } from '../language-model.ts';
import { createTokenizer } from '../tokenizer/tokenizer.ts';
import { readCheckpointFolder } from './read-safetensors.fixture.ts';

/** An f32 weight in memory. */
export function memoryWeight(name: string, shape: readonly number[], data: Float32Array): WeightTensor {
  const columns = shape.slice(1).reduce((a, b) => a * b, 1);
  const rows = (start = 0, end = shape[0]) => data.slice(start * columns, end * columns);
  return {
    kind: 'dense',
    dtype: 'f32',
    name,
    shape,
    byteLength: data.byteLength,
    toF32: (start, end) => Promise.resolve(rows(start, end)),
    slice: (start, end) => memoryWeight(name, [end - start, ...shape.slice(1)], rows(start, end)),
    bytes: (start, end) => Promise.resolve(new Uint8Array(rows(start, end).buffer)),
  };
}

const readJson = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as unknown;

/** Opens a checkpoint folder with everything in memory. */
export function folderModel(folder: string): LanguageModel {
  const weights = [...readCheckpointFolder(folder)].map(
    ([name, { shape, data }]) => [name, memoryWeight(name, shape, data as Float32Array)] as const,
  );
  const tokenizerFile = `${folder}/tokenizer.json`;
  const tokenizer = existsSync(tokenizerFile)
    ? createTokenizer(readJson(tokenizerFile), readJson(`${folder}/tokenizer_config.json`))
    : null;
  return createModel({ config: readJson(`${folder}/config.json`), weights: new Map(weights), tokenizer });
}

/** A model with made-up weights for any config. */
export function madeUpModel(json: object): LanguageModel {
  const architecture = describeArchitecture(readModelConfig(json));
  const weights = expectedTensors(architecture).map(({ name, shape }, index) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const scale = shape.length === 1 ? 1 : 1 / Math.sqrt(shape[1]);
    const value = (i: number) =>
      scale * (shape.length === 1 ? 1 + 0.1 * Math.sin(i) : Math.sin(1.7 * i + 31 * index + (i * i) / 97));
    return [
      name,
      memoryWeight(
        name,
        shape,
        Float32Array.from({ length: size }, (_, i) => value(i)),
      ),
    ] as const;
  });
  return createModel({ config: json, weights: new Map(weights) });
}

// The cache of a teacher as a safetensors file: for each window the most likely tokens (u16, or i32 for vocabularies beyond
// 65,536), their log-probabilities (f16) and what is left for all others (f32). At k = 64 that is 260 bytes a token.
//
// Its metadata binds it to the teacher's weights, the tokenizer and the text by hash: a cache of something else is refused.
// Windows are written one after another; a killed run goes on with the first that is not marked as done.
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { planOutput, type OutputTensor } from '@pith/checkpoint';
import { openOutput, openSafetensorsFile, workingDirectoryOf, type OutputLocation } from '@pith/checkpoint/node';
import { expectedTensors, type LanguageModel } from '@pith/model';
import { compile, fromF32, isPithError, PithError, throwIfStopped, toF32 } from '@pith/tensor-core';
import type { Device, RunOptions } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import { liveTeachers } from '../teacher/live-teachers.ts';
import type { TeacherCache } from '../teacher/teacher-cache.ts';

const BASE_NAME = 'teacher';
const FORMAT = 'pith-teacher-cache-1';

/** How a cache is made. */
export interface TeacherCacheOptions extends RunOptions {
  /** Where the teacher runs. */
  readonly device: Device;
  /** int32 [context] each. */
  readonly windows: readonly Int32Array[];
  /** Tokens kept at each position; at most the vocabulary. */
  readonly top: number;
  /** Temperature at which probabilities are taken. */
  readonly temperature: number;
}

/** A cache in a file. */
export interface TeacherCacheFile extends TeacherCache {
  /** Closes the file. */
  close(): void;
}

/** SHA-256 of a model's weights as they are stored: names, shapes, bytes. */
export async function hashWeights({
  architecture,
  weights,
}: Pick<LanguageModel, 'architecture' | 'weights'>): Promise<string> {
  const hash = createHash('sha256');
  const rows = 2 ** 20;
  for (const { name } of expectedTensors(architecture)) {
    const weight = weights.get(name)!;
    hash.update(`${name} ${weight.kind} ${weight.shape.join()}\n`);
    const count = weight.shape[0] ?? 1;
    const step = Math.max(
      1,
      Math.floor(
        rows /
          Math.max(
            1,
            weight.shape.slice(1).reduce((a, b) => a * b, 1),
          ),
      ),
    );
    for (let from = 0; from < count; from += step) {
      const to = Math.min(count, from + step);
      if (weight.kind === 'dense') hash.update(await weight.bytes(from, to));
      else hash.update(new Uint8Array((await weight.toF32(from, to)).buffer));
    }
  }
  return hash.digest('hex');
}

/** SHA-256 of the tokens of a vocabulary; `none` where a model has no tokenizer that tells them. */
function hashTokenizer({ tokenizer }: Pick<LanguageModel, 'tokenizer'>): string {
  if (!tokenizer?.tokenOf) return 'none';
  const hash = createHash('sha256');
  for (let id = 0; id < tokenizer.size; id++) hash.update(`${JSON.stringify(tokenizer.tokenOf(id) ?? null)}\n`);
  return hash.digest('hex');
}

function hashWindows(windows: readonly Int32Array[]): string {
  const hash = createHash('sha256');
  for (const window of windows) hash.update(new Uint8Array(window.buffer, window.byteOffset, window.byteLength));
  return hash.digest('hex');
}

/**
 * Runs a teacher over a text and keeps its most likely tokens in `directory`; what is there already is used, after a check
 * that it belongs to this teacher, tokenizer and text.
 *
 * Probabilities are f32 in the program and kept as f16 logarithms (relative error 2^-11 of the logarithm); when they are
 * read, those of the kept tokens are scaled to what the rest leaves.
 *
 * @throws PithError `DISTILL_CACHE_FOREIGN`, `DISTILL_OPTION_INVALID` for more tokens than there are, `STOPPED`.
 */
export async function writeTeacherCache(
  directory: string,
  teacher: LanguageModel,
  options: TeacherCacheOptions,
): Promise<TeacherCacheFile> {
  const { device, windows, top, temperature, signal, progress } = options;
  const { vocabularySize } = teacher.config;
  if (top > vocabularySize) {
    throw new PithError(
      'DISTILL_OPTION_INVALID',
      `distill: cacheTop must be at most the vocabulary size ${vocabularySize}, got ${top}`,
      { details: { cacheTop: top, vocabularySize } },
    );
  }
  const metadata = {
    format: FORMAT,
    teacher: await hashWeights(teacher),
    tokenizer: hashTokenizer(teacher),
    text: hashWindows(windows),
    top: String(top),
    temperature: String(temperature),
  };
  if (existsSync(directory)) return openTeacherCache(directory, metadata);
  const tokens = windows[0]!.length - 1;
  const wide = vocabularySize > 65536;
  const tensors: OutputTensor[] = [
    { name: 'ids', dtype: wide ? 'i32' : 'u16', shape: [windows.length, tokens, top] },
    { name: 'logProbabilities', dtype: 'f16', shape: [windows.length, tokens, top] },
    { name: 'rest', dtype: 'f32', shape: [windows.length, tokens] },
    { name: 'done', dtype: 'u8', shape: [windows.length] },
  ];
  const layout = planOutput(tensors, { baseName: BASE_NAME, metadata });
  await mkdir(dirname(directory), { recursive: true });
  const output = await openOutput(directory, layout, { mode: 'either' }).catch((error: unknown) => {
    const left = workingDirectoryOf(directory);
    throw isPithError(error) && error.code === 'OUTPUT_LAYOUT_DIFFERS' ? foreign(left, ['what it is made of']) : error;
  });
  const live = await liveTeachers([teacher]);
  const names = Object.keys(live.frozen);
  const program = await compile(
    (inputs) => {
      const logits = live.view(inputs, inputs['ids'] as tf.Tensor2D).logits!(temperature);
      const logs = tf.logSoftmax(tf.div(tf.reshape(logits, [tokens, vocabularySize]), temperature));
      const { values, indices } = tf.topk(logs, top);
      const rest = tf.maximum(tf.sub(1, tf.sum(tf.exp(values), 1)), 0);
      return { values, indices, rest };
    },
    {
      ...Object.fromEntries(names.map((name) => [name, { shape: live.frozen[name]!.shape }])),
      ids: { shape: [1, tokens], dtype: 'int32' },
    },
    device,
    { name: 'teacher' },
  );
  const done = await readDone(output.location('done'));
  try {
    for (const [index, window] of windows.entries()) {
      throwIfStopped(signal, 'keep what the teacher says');
      if (done[index] === 0) {
        const ids = { dtype: 'i32', shape: [1, tokens], data: window.slice(0, tokens) } as const;
        const { values, indices, rest } = await program.run({ ...live.frozen, ids });
        const chosen = indices!.data as Int32Array;
        const stored = bytesOf(wide ? chosen : Uint16Array.from(chosen));
        const logs = fromF32('f16', values!.data as Float32Array);
        const left = bytesOf(rest!.data as Float32Array);
        await output.write('ids', index * stored.length, stored);
        await output.write('logProbabilities', index * logs.length, logs);
        await output.write('rest', index * left.length, left);
        // Last of all: what is marked as done is there.
        await output.write('done', index, Uint8Array.of(1));
      }
      progress?.({ phase: 'teacher', done: index + 1, total: windows.length, unit: 'window' });
    }
  } catch (error) {
    await output.close();
    throw error;
  } finally {
    await program.dispose();
  }
  await output.finish();
  await output.publish();
  return openTeacherCache(directory, metadata);
}

const bytesOf = (array: Int32Array | Uint16Array | Float32Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Which windows an earlier run wrote. */
async function readDone({ path, offset, byteLength }: OutputLocation): Promise<Uint8Array> {
  const done = new Uint8Array(byteLength);
  const file = await open(path, 'r');
  try {
    await file.read(done, 0, byteLength, offset);
  } finally {
    await file.close();
  }
  return done;
}

const foreign = (path: string, differences: readonly string[]): PithError =>
  new PithError(
    'DISTILL_CACHE_FOREIGN',
    `distill: the cache in ${path} must belong to this teacher, tokenizer and text, it differs in ${differences.join(', ')}; ` +
      'remove it to have it written anew',
    { details: { path, differences } },
  );

/**
 * Opens a finished cache.
 *
 * @param expected Metadata that it must have.
 * @throws PithError `DISTILL_CACHE_FOREIGN` naming everything that differs; as `openSafetensorsFile` does for a damaged file.
 */
async function openTeacherCache(
  directory: string,
  expected: Readonly<Record<string, string>>,
): Promise<TeacherCacheFile> {
  const path = join(directory, `${BASE_NAME}.safetensors`);
  const file = await openSafetensorsFile(path);
  const { metadata, tensors } = file;
  await file.close();
  const differences = Object.entries(expected).flatMap(([key, value]) => (metadata.get(key) === value ? [] : [key]));
  if (differences.length > 0) throw foreign(directory, differences);
  const part = (name: string) => {
    const { shape, dtype, source } = tensors.get(name)!;
    return { shape, dtype, offset: source.file!.offset };
  };
  const [ids, logs, rest] = [part('ids'), part('logProbabilities'), part('rest')];
  const [windows, tokens, top] = ids.shape as [number, number, number];
  const size = tokens * top;
  const wide = ids.dtype === 'i32';
  const handle = openSync(path, 'r');
  const read = (bytes: Uint8Array, position: number): void => {
    if (readSync(handle, bytes, 0, bytes.length, position) === bytes.length) return;
    throw new PithError('FILE_TRUNCATED', `distill: ${path} is shorter than its header says; remove the cache`, {
      details: { path },
    });
  };
  const narrow = new Uint16Array(wide ? 0 : size);
  const half = new Uint8Array(2 * size);
  return {
    windows,
    tokens,
    top,
    temperature: Number(expected['temperature']),
    readWindow(index, into, position) {
      const target = into.ids.subarray(position * size, (position + 1) * size);
      if (wide) read(bytesOf(target), ids.offset + 4 * index * size);
      else {
        read(bytesOf(narrow), ids.offset + 2 * index * size);
        target.set(narrow);
      }
      read(half, logs.offset + 2 * index * size);
      const chosen = into.probabilities.subarray(position * size, (position + 1) * size);
      toF32('f16', half, chosen);
      const left = into.rest.subarray(position * tokens, (position + 1) * tokens);
      read(bytesOf(left), rest.offset + 4 * index * tokens);
      for (let token = 0; token < tokens; token++) {
        let sum = 0;
        const row = chosen.subarray(token * top, (token + 1) * top);
        for (let i = 0; i < top; i++) sum += row[i] = Math.exp(row[i]!);
        const scale = (1 - left[token]!) / sum;
        for (let i = 0; i < top; i++) row[i]! *= scale;
      }
    },
    close: () => closeSync(handle),
  };
}

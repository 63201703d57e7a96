// Exported models in the real runtime, for tests.
import type { LanguageModel } from '../language-model.ts';
import { writeOnnx } from '../node/write-onnx.ts';
import type { OrtFeeds, OrtTensor } from '../testing/run-onnx.fixture.ts';
import { buildOnnx } from './build-onnx.ts';
import type { OnnxOptions } from './model-tensors.ts';
import { cachePorts } from './ports.ts';
import { placeTensors } from './place-tensors.ts';
import type { PlaceOptions } from './place-tensors.ts';

/** Values as they are: what most tests begin with. */
export const PLAIN: OnnxOptions = {
  weights: 'f32',
  dtype: 'f32',
  blockSize: 32,
  symmetric: true,
  activations: 'none',
};

/** Writes a model and gives the path of its file. */
export async function exportOnnx(
  directory: string,
  model: LanguageModel,
  options: OnnxOptions = PLAIN,
  limits: Partial<PlaceOptions> = {},
): Promise<string> {
  const { builder, weights } = buildOnnx(model, options);
  const groups = weights.map(({ group }) => group);
  const file = 'model.onnx';
  const places = placeTensors(
    groups.flatMap(({ tensors }) => tensors),
    { file, inlineBytes: 2 ** 20, chunkBytes: 2 ** 31, ...limits },
  );
  await writeOnnx(directory, { file, builder, groups, places });
  return `${directory}/${file}`;
}

const int64 = (rows: readonly (readonly number[])[]): OrtTensor => ({
  type: 'int64',
  dims: [rows.length, rows[0].length],
  data: BigInt64Array.from(rows.flat(), BigInt),
});

/** Inputs of an encoder: rows of ids, which of them are real, and their segments. */
export function encoderFeeds(
  ids: readonly (readonly number[])[],
  mask: readonly (readonly number[])[] = ids.map((row) => row.map(() => 1)),
  segments: readonly (readonly number[])[] = ids.map((row) => row.map(() => 0)),
): OrtFeeds {
  return { input_ids: int64(ids), attention_mask: int64(mask), token_type_ids: int64(segments) };
}

/** Inputs of a decoder: rows of ids, the mask of all tokens so far, and the cache of an earlier run, or of the run before. */
export function decoderFeeds(
  { config }: LanguageModel,
  ids: readonly (readonly number[])[],
  mask: readonly (readonly number[])[] = ids.map((row) => row.map(() => 1)),
  cache?: Readonly<Record<string, OrtTensor>> | 'previous',
  cacheType: 'float32' | 'float16' = 'float32',
): OrtFeeds {
  const count = ids[0].length;
  const positions = mask.map((row) => {
    let seen = 0;
    const all = row.map((real) => (real === 1 ? seen++ : 1));
    return all.slice(-count);
  });
  const feeds: Record<string, OrtFeeds[string]> = {
    input_ids: int64(ids),
    attention_mask: int64(mask),
    position_ids: int64(positions),
  };
  for (let block = 0; block < config.layers; block++) {
    const { past, present } = cachePorts(block);
    for (const part of ['keys', 'values'] as const) {
      const empty = cacheType === 'float32' ? new Float32Array(0) : (new Uint16Array(0) as never);
      if (cache === 'previous') {
        feeds[past[part]] = { output: present[part] };
        continue;
      }
      feeds[past[part]] = cache?.[present[part]] ?? {
        type: cacheType,
        dims: [ids.length, config.keyValueHeads, 0, part === 'keys' ? config.headDim : config.valueDim],
        data: empty,
      };
    }
  }
  return feeds;
}

/** Largest difference of two lists. */
export const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) throw new RangeError(`lists of ${a.length} and ${b.length} values`);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
  return most;
};

// Exported decoders in the real runtime, for tests.
import type { LanguageModel } from '../language-model.ts';
import { writeOnnx } from '../node/write-onnx.ts';
import type { OrtFeeds, OrtTensor } from '../testing/run-onnx.fixture.ts';
import { buildDecoder } from './build-decoder.ts';
import type { DecoderOptions } from './build-decoder.ts';
import { cachePorts } from './decoder-inputs.ts';
import { placeTensors } from './place-tensors.ts';
import type { PlaceOptions } from './place-tensors.ts';

/** Values as they are: what most tests begin with. */
export const PLAIN: DecoderOptions = {
  weights: 'f32',
  dtype: 'f32',
  blockSize: 32,
  symmetric: true,
  activations: 'none',
};

/** Writes a decoder and gives the path of its model. */
export async function exportDecoder(
  directory: string,
  model: LanguageModel,
  options: DecoderOptions = PLAIN,
  limits: Partial<PlaceOptions> = {},
): Promise<string> {
  const { builder, weights } = buildDecoder(model, options);
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

/** Inputs of a decoder: rows of ids, the mask of all tokens so far, and the cache of an earlier run. */
export function decoderFeeds(
  { config }: LanguageModel,
  ids: readonly (readonly number[])[],
  mask: readonly (readonly number[])[] = ids.map((row) => row.map(() => 1)),
  cache?: Readonly<Record<string, OrtTensor>>,
  cacheType: 'float32' | 'float16' = 'float32',
): OrtFeeds {
  const count = ids[0].length;
  const positions = mask.map((row) => {
    let seen = 0;
    const all = row.map((real) => (real === 1 ? seen++ : 1));
    return all.slice(-count);
  });
  const feeds: Record<string, OrtTensor> = {
    input_ids: int64(ids),
    attention_mask: int64(mask),
    position_ids: int64(positions),
  };
  for (let block = 0; block < config.layers; block++) {
    const { past, present } = cachePorts(block);
    for (const part of ['keys', 'values'] as const) {
      const empty = cacheType === 'float32' ? new Float32Array(0) : (new Uint16Array(0) as never);
      feeds[past[part]] = cache?.[present[part]] ?? {
        type: cacheType,
        dims: [ids.length, config.keyValueHeads, 0, config.headDim],
        data: empty,
      };
    }
  }
  return feeds;
}

/** Largest difference of two lists. */
export const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
  return most;
};

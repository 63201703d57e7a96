// Exported decoders against the reference logits of golden/arch and against Pith's own evaluation, in ONNX Runtime.
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { folderModel } from '../testing/folder-model.fixture.ts';
import { readSafetensors } from '../testing/read-safetensors.fixture.ts';
import { runOnnx, withDirectory } from '../testing/run-onnx.fixture.ts';
import { decoderFeeds, exportDecoder } from './decoder.fixture.ts';

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.prototype.reduce.call(
    a,
    (most, value, i) => Math.max(most as number, Math.abs((value as number) - b[i])),
    0,
  ) as number;

describe.skipIf(!hasShared || !hasRuntime('onnxruntime-node'))('exported decoders', () => {
  it.each(['llama', 'qwen2', 'mistral'])(
    '%s: reference logits, whole, in steps, and padded on the left',
    async (name) => {
      const model = folderModel(shared(`golden/arch/${name}`));
      const reference = readSafetensors(shared(`golden/arch/${name}/reference.safetensors`));
      const ids = Array.from(reference.get('input_ids')!.data, Number);
      const expected = reference.get('logits')!.data;
      const vocabulary = model.config.vocabularySize;
      await withDirectory(async (directory) => {
        const file = await exportDecoder(directory, model);
        const first = runOnnx(file, [decoderFeeds(model, [ids])]).results[0];
        expect(first['logits'].dims).toEqual([1, ids.length, vocabulary]);
        expect(distance(first['logits'].data, expected)).toBeLessThan(3e-5);
        // 20 tokens, then the last four with their cache.
        const head = runOnnx(file, [decoderFeeds(model, [ids.slice(0, 20)])]).results[0];
        const tail = decoderFeeds(model, [ids.slice(20)], [ids.map(() => 1)], head as never);
        // The same ids behind three tokens of padding, beside a shorter text.
        const padded = [
          [0, 0, 0, ...ids],
          [...Array.from({ length: ids.length - 7 }, () => 0), ...ids.slice(0, 10)],
        ];
        const mask = [padded[0].map((_, i) => (i < 3 ? 0 : 1)), padded[1].map((_, i) => (i < ids.length - 7 ? 0 : 1))];
        const [rest, both] = runOnnx(file, [tail, decoderFeeds(model, padded, mask)]).results;
        expect(distance(rest['logits'].data, expected.subarray(20 * vocabulary))).toBeLessThan(3e-5);
        const width = padded[0].length;
        const row = (batch: number, from: number): Float32Array =>
          both['logits'].data.subarray((batch * width + from) * vocabulary, (batch + 1) * width * vocabulary);
        expect(distance(row(0, 3), expected)).toBeLessThan(3e-5);
        expect(distance(row(1, width - 10), expected.subarray(0, 10 * vocabulary))).toBeLessThan(3e-5);
      });
    },
  );
});

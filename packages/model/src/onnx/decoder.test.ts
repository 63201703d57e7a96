// Exported decoders against the reference logits of golden/arch and against Pith's own evaluation, in ONNX Runtime.
import { readdirSync } from 'node:fs';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { supportedModelTypes } from '../architecture/registry.ts';
import { openModel } from '../node/open-model.ts';
import { folderModel } from '../testing/folder-model.fixture.ts';
import { readSafetensors } from '../testing/read-safetensors.fixture.ts';
import { runOnnx, withDirectory } from '../testing/run-onnx.fixture.ts';
import { decoderFeeds, distance, exportOnnx, PLAIN } from './run-model.fixture.ts';

/** Every decoder of golden/arch that this version knows. */
const DECODERS = hasShared
  ? readdirSync(shared('golden/arch')).filter((name) => supportedModelTypes.includes(name) && name !== 'bert')
  : [];

describe.skipIf(!hasShared || !hasRuntime('onnxruntime-node'))('exported decoders', () => {
  it.each(DECODERS)('%s: reference logits, whole, in steps, and padded on the left', async (name) => {
    const model = await openModel(shared(`golden/arch/${name}`));
    const reference = readSafetensors(shared(`golden/arch/${name}/reference.safetensors`));
    const ids = Array.from(reference.get('input_ids')!.data, Number);
    const expected = reference.get('logits')!.data;
    const vocabulary = model.config.vocabularySize;
    await withDirectory(async (directory) => {
      const file = await exportOnnx(directory, model);
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
    await model.close();
  });

  it('stories260k in files of 64 KB: the same numbers, by streaming', async () => {
    const model = folderModel(shared('models/stories260k'));
    const reference = readSafetensors(shared('golden/stories260k/logits.safetensors'));
    const ids = Array.from(reference.get('input_ids')!.data, Number);
    const expected = reference.get('logits')!.data;
    await withDirectory(async (directory) => {
      const file = await exportOnnx(directory, model, PLAIN, { inlineBytes: 0, chunkBytes: 65_536 });
      expect(readdirSync(directory).filter((name) => name.startsWith('model.onnx_data')).length).toBeGreaterThan(10);
      const { results, inputs } = runOnnx(file, [decoderFeeds(model, [ids])]);
      const largest = distance(expected, new Float32Array(expected.length));
      expect(distance(results[0]['logits'].data, expected) / largest).toBeLessThan(2e-4);
      expect(inputs.slice(0, 5)).toEqual([
        { name: 'input_ids', type: 'int64', shape: ['batch_size', 'sequence_length'] },
        { name: 'attention_mask', type: 'int64', shape: ['batch_size', 'total_sequence_length'] },
        { name: 'position_ids', type: 'int64', shape: ['batch_size', 'sequence_length'] },
        { name: 'past_key_values.0.key', type: 'float32', shape: ['batch_size', 4, 'past_sequence_length', 8] },
        { name: 'past_key_values.0.value', type: 'float32', shape: ['batch_size', 4, 'past_sequence_length', 8] },
      ]);
    });
  });

  it('f16: weights, cache and products in half precision', async () => {
    const model = folderModel(shared('golden/arch/qwen2'));
    const ids = [1, 5, 9, 13, 2, 7, 7, 30];
    await withDirectory(async (directory) => {
      const file = await exportOnnx(directory, model, { ...PLAIN, weights: 'f16', dtype: 'f16' });
      const { results, inputs } = runOnnx(file, [decoderFeeds(model, [ids], undefined, undefined, 'float16')]);
      expect(inputs[3].type).toBe('float16');
      const [first] = results;
      const rest = decoderFeeds(model, [[4]], [[1, 1, 1, 1, 1, 1, 1, 1, 1]], first as never);
      const step = runOnnx(file, [rest]).results[0];
      await withDirectory(async (plain) => {
        const whole = runOnnx(await exportOnnx(plain, model), [decoderFeeds(model, [[...ids, 4]])]).results[0];
        const width = model.config.vocabularySize;
        const largest = distance(whole['logits'].data, new Float32Array(9 * width));
        // Each of some tens of products of a token rounds its operands to 2^-11.
        const tolerance = largest * 32 * 2 ** -11;
        expect(distance(first['logits'].data, whole['logits'].data.subarray(0, 8 * width))).toBeLessThan(tolerance);
        expect(distance(step['logits'].data, whole['logits'].data.subarray(8 * width))).toBeLessThan(tolerance);
      });
    });
  });
});

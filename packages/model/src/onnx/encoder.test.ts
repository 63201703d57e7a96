// Exported encoders against the reference checkpoint and against embeddings of transformers, in ONNX Runtime.
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { folderModel } from '../testing/folder-model.fixture.ts';
import { readSafetensors } from '../testing/read-safetensors.fixture.ts';
import { runOnnx, withDirectory } from '../testing/run-onnx.fixture.ts';
import { bertEmbeddings, bertModel } from '../testing/bert.fixture.ts';
import { distance, encoderFeeds, exportOnnx, PLAIN } from './run-model.fixture.ts';

/** f32 on both sides, in another order of the sums: as for the reference logits of golden/arch. */
const TOLERANCE = 3e-5;

const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'].map((name) => ({
  name,
  type: 'int64',
  shape: ['batch_size', 'sequence_length'],
}));

describe.skipIf(!hasRuntime('onnxruntime-node'))('exported encoders', () => {
  it.skipIf(!hasShared)('golden bert: states and logits, and padded on the right beside a shorter text', async () => {
    const model = folderModel(shared('golden/arch/bert'));
    const reference = readSafetensors(shared('golden/arch/bert/reference.safetensors'));
    const ids = Array.from(reference.get('input_ids')!.data, Number);
    const segments = Array.from(reference.get('token_type_ids')!.data, Number);
    const states = reference.get(`hidden_${model.config.layers}`)!.data;
    const logits = reference.get('logits')!.data;
    await withDirectory(async (directory) => {
      const file = await exportOnnx(directory, model);
      const short = ids.slice(0, 9);
      const rows = [
        [...ids, 0, 0],
        [...short, ...Array.from({ length: ids.length + 2 - 9 }, () => 0)],
      ];
      const mask = [ids.length, 9].map((real) => rows[0].map((_, i) => (i < real ? 1 : 0)));
      const kinds = [[...segments, 0, 0], rows[1].map((_, i) => (i < 9 ? segments[i] : 0))];
      const { results, inputs } = runOnnx(file, [
        encoderFeeds([ids], undefined, [segments]),
        encoderFeeds(rows, mask, kinds),
        encoderFeeds([short], undefined, [segments.slice(0, 9)]),
      ]);
      expect(inputs).toEqual(INPUTS);
      const [alone, both, apart] = results;
      const { hiddenSize, vocabularySize } = model.config;
      for (const [name, expected, width] of [
        ['last_hidden_state', states, hiddenSize],
        ['logits', logits, vocabularySize],
      ] as const) {
        expect(alone[name].dims).toEqual([1, ids.length, width]);
        expect(distance(alone[name].data, expected)).toBeLessThan(TOLERANCE);
        const row = both[name].data.length / 2;
        expect(distance(both[name].data.subarray(0, ids.length * width), expected)).toBeLessThan(TOLERANCE);
        const second = both[name].data.subarray(row, row + 9 * width);
        expect(distance(second, apart[name].data)).toBeLessThan(TOLERANCE);
      }
      // A text of its own is not the beginning of a longer one: every token sees all.
      expect(distance(apart['logits'].data, logits.subarray(0, 9 * vocabularySize))).toBeGreaterThan(100 * TOLERANCE);
    });
  });

  it('without a head: states alone, with segments, as transformers gives them', async () => {
    const model = bertModel();
    const { encoded, pair, mean, pairMean, cls } = bertEmbeddings;
    await withDirectory(async (directory) => {
      const file = await exportOnnx(directory, model);
      const [text, two] = runOnnx(file, [
        encoderFeeds([encoded[0].ids]),
        encoderFeeds([pair.ids], undefined, [pair.segments]),
      ]).results;
      expect(Object.keys(text)).toEqual(['last_hidden_state']);
      const width = model.config.hiddenSize;
      const meanOf = (states: Float32Array): number[] =>
        Array.from({ length: width }, (_, i) => {
          let sum = 0;
          for (let at = i; at < states.length; at += width) sum += states[at];
          return (sum * width) / states.length;
        });
      const { data } = text['last_hidden_state'];
      expect(distance(meanOf(data).slice(0, 6), mean)).toBeLessThan(TOLERANCE);
      expect(distance(data.subarray(0, 6), cls)).toBeLessThan(TOLERANCE);
      expect(distance(meanOf(two['last_hidden_state'].data).slice(0, 6), pairMean)).toBeLessThan(TOLERANCE);
    });
  });

  it('f16: products in half precision, states in f32', async () => {
    const model = bertModel();
    const { ids } = bertEmbeddings.encoded[0];
    await withDirectory(async (directory) => {
      const half = await exportOnnx(directory, model, { ...PLAIN, weights: 'f16', dtype: 'f16' });
      const found = runOnnx(half, [encoderFeeds([ids])]).results[0]['last_hidden_state'];
      expect(found.type).toBe('float32');
      await withDirectory(async (plain) => {
        const file = await exportOnnx(plain, model);
        const expected = runOnnx(file, [encoderFeeds([ids])]).results[0]['last_hidden_state'].data;
        const largest = distance(expected, new Float32Array(expected.length));
        // Each of some tens of products of a token rounds its operands to 2^-11.
        expect(distance(found.data, expected)).toBeLessThan(largest * 32 * 2 ** -11);
        expect(distance(found.data, expected)).toBeGreaterThan(0);
      });
    });
  });
});

// Every architecture as ONNX in the real runtime: the logits that transformers gives for made-up weights, whole and token by
// token with a cache. Those of reference checkpoints are in `decoder.test.ts` and `encoder.test.ts`.
import { cpuDevice } from '@pith/tensor-core/node';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { describe, expect, it } from 'vitest';
import { Decoder } from '../generate/decoder.ts';
import { PhaseClock } from '../run/phase-clock.ts';
import { PINNED, PINNED_IDS, pinnedModel } from '../testing/pinned-models.fixture.ts';
import { runOnnx, withDirectory } from '../testing/run-onnx.fixture.ts';
import { decoderFeeds, distance, encoderFeeds, exportOnnx } from './run-model.fixture.ts';

/** As in `pinned-logits.test.ts`: f32 on both sides, of the largest logit. */
const TOLERANCE = 2e-5;
/** Tokens that are taken in at once before those that follow one by one. */
const PROMPT = 10;
const IDS = [...PINNED_IDS];
const ones = (count: number): number[] => Array.from({ length: count }, () => 1);

type Case = readonly [string, (typeof PINNED)[number]];
const cases = (kind: 'encoder' | 'decoder'): Case[] =>
  PINNED.filter(({ config }) => (config.model_type === 'bert') === (kind === 'encoder')).map((one) => [one.name, one]);

describe.skipIf(!hasRuntime('onnxruntime-node'))('made-up weights in ONNX Runtime', () => {
  it.each(cases('decoder'))('%s', async (_, pinned) => {
    const model = pinnedModel(pinned);
    const vocabulary = model.config.vocabularySize;
    await withDirectory(async (directory) => {
      const file = await exportOnnx(directory, model);
      const steps = IDS.slice(PROMPT).map((id, i) => decoderFeeds(model, [[id]], [ones(PROMPT + i + 1)], 'previous'));
      const padded = [
        [0, 0, 0, ...IDS],
        [...Array.from({ length: 8 }, () => 0), ...IDS.slice(0, 9)],
      ];
      const mask = [
        [0, 0, 0, ...ones(14)],
        [...Array.from({ length: 8 }, () => 0), ...ones(9)],
      ];
      const { results } = runOnnx(file, [
        decoderFeeds(model, [IDS]),
        decoderFeeds(model, [IDS.slice(0, PROMPT)]),
        ...steps,
        decoderFeeds(model, padded, mask),
      ]);
      const [whole, prompt, ...rest] = results.map(({ logits }) => logits.data);
      const row = (at: number): Float32Array => whole.subarray(at * vocabulary, (at + 1) * vocabulary);
      const most = TOLERANCE * Math.max(1, ...pinned.logits.map(Math.abs));
      expect(distance([...row(5).slice(0, 6), ...row(13).slice(0, 6)], pinned.logits)).toBeLessThan(most);
      const both = rest.pop()!;
      // Cached keys keep the angles of the text's length at their time, in all implementations.
      const grows = model.config.rope?.scaling.kind === 'dynamic';
      const wanted = grows ? await steppedLogits(model) : undefined;
      if (!grows) expect(distance(prompt, whole.subarray(0, PROMPT * vocabulary))).toBeLessThan(most);
      rest.forEach((step, i) => {
        expect(distance(step, wanted?.[i] ?? row(PROMPT + i)), `token ${PROMPT + i}`).toBeLessThan(most);
      });
      expect(distance(both.subarray(3 * vocabulary, 17 * vocabulary), whole)).toBeLessThan(most);
      if (grows) return;
      const second = both.subarray((17 + 8) * vocabulary, 2 * 17 * vocabulary);
      expect(distance(second, whole.subarray(0, 9 * vocabulary))).toBeLessThan(most);
    });
  });

  it.each(cases('encoder'))('%s', async (_, pinned) => {
    const model = pinnedModel(pinned);
    const vocabulary = model.config.vocabularySize;
    await withDirectory(async (directory) => {
      const { results } = runOnnx(await exportOnnx(directory, model), [encoderFeeds([IDS])]);
      const { data } = results[0]['logits'];
      const row = (at: number): number[] => [...data.subarray(at * vocabulary, at * vocabulary + 6)];
      const most = TOLERANCE * Math.max(1, ...pinned.logits.map(Math.abs));
      expect(distance([...row(5), ...row(13)], pinned.logits)).toBeLessThan(most);
    });
  });
});

/** What Pith computes token by token, behind the prompt. */
async function steppedLogits(model: ReturnType<typeof pinnedModel>): Promise<Float32Array[]> {
  const device = cpuDevice({ threads: 1 });
  const decoder = new Decoder(model, {
    device,
    capacity: IDS.length,
    promptTokens: PROMPT,
    memoryLimitBytes: 2 ** 30,
    clock: new PhaseClock(),
  });
  try {
    await decoder.advance(PINNED_IDS.subarray(0, PROMPT));
    const steps: Float32Array[] = [];
    for (let at = PROMPT; at < IDS.length; at++) steps.push(await decoder.advance(PINNED_IDS.subarray(at, at + 1)));
    return steps;
  } finally {
    await decoder.dispose();
    await device.dispose();
  }
}

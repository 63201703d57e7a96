import { describe, expect, it } from 'vitest';
import { bertModel } from '../testing/bert.fixture.ts';
import { cutWindows } from '../evaluate/windows.ts';
import { madeUpModel } from '../testing/folder-model.fixture.ts';
import { calibrationWindows, type CalibrationOptions } from './calibration-windows.ts';

const config = {
  model_type: 'llama',
  vocab_size: 1000,
  hidden_size: 4,
  intermediate_size: 4,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  max_position_embeddings: 64,
  tie_word_embeddings: true,
};
const model = madeUpModel(config);
const ids = Int32Array.from({ length: 203 }, (_, i) => 3 + i);
const cut = (options: Partial<CalibrationOptions> = {}) =>
  calibrationWindows(model, { ids, context: 5, samples: 7, ...options } as CalibrationOptions);

describe('calibrationWindows', () => {
  it('takes the first windows of the perplexity protocol', () => {
    const { windows, indices, ...facts } = cut();
    expect(windows).toEqual(cutWindows(model, ids, { context: 5, maxWindows: 7 }).windows);
    expect([...windows[6]]).toEqual([1, 27, 28, 29, 30]);
    expect(indices).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(facts).toEqual({
      available: 50,
      textTokens: 203,
      context: 5,
      choose: 'first',
      seed: null,
      interventions: [],
    });
  });

  it('takes windows from all over the text by a seed, in the order of the text', () => {
    const { windows, indices, choose, seed } = cut({ seed: 3 });
    expect({ choose, seed }).toEqual({ choose: 'random', seed: 3 });
    expect(new Set(indices).size).toBe(7);
    expect([...indices].sort((a, b) => a - b)).toEqual(indices);
    expect(indices[6]).toBeGreaterThan(7);
    const all = cutWindows(model, ids, { context: 5 }).windows;
    expect(windows).toEqual(indices.map((index) => all[index]));
    expect(cut({ seed: 3 }).indices).toEqual(indices);
    expect(cut({ seed: 4 }).indices).not.toEqual(indices);
    expect(cut({ choose: 'random' }).seed).toBe(0);
  });

  it('uses the windows that there are and says so', () => {
    const { windows, interventions } = cut({ samples: 128, seed: 1 });
    expect(windows.length).toBe(50);
    expect(interventions).toMatchObject([
      { code: 'FEWER_CALIBRATION_WINDOWS', details: { windows: 50, samples: 128, tokens: 203, context: 5 } },
    ]);
  });

  it("is as long as the model's positions where those are fewer than 512", () => {
    expect(calibrationWindows(model, { ids }).context).toBe(64);
  });

  const refused: [string, Partial<CalibrationOptions>, string, RegExp][] = [
    ['an empty text', { ids: new Int32Array(0) }, 'CALIBRATION_EMPTY', /it has none/],
    ['a text shorter than a window', { ids: ids.subarray(0, 3) }, 'CALIBRATION_TOO_SHORT', /has 3;.*at most 4$/],
    [
      'one token but for the first',
      { ids: new Int32Array(99).fill(7).fill(3, 0, 1), samples: 20 },
      'CALIBRATION_ONE_TOKEN',
      /token 7 repeated 79 times among 80/,
    ],
    [
      'one token throughout',
      { ids: new Int32Array(99).fill(7) },
      'CALIBRATION_ONE_TOKEN',
      /token 7 repeated 28 times among 28/,
    ],
    [
      'a token that the model does not have',
      { ids: new Int32Array(99).fill(1000) },
      'TOKEN_OUT_OF_RANGE',
      /^calibration/,
    ],
    ['a context beyond the positions', { context: 65 }, 'CALIBRATION_OPTIONS', /2 to 64.*got 65/],
    ['a seed for the first windows', { choose: 'first', seed: 1 }, 'CALIBRATION_OPTIONS', /no seed/],
    ['several faults at once', { samples: 0, seed: -1 }, 'CALIBRATION_OPTIONS', /samples.*seed/],
  ];
  it.each(refused)('refuses %s', (_, options, code, message) => {
    expect(() => cut(options)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  it('opens the windows of an encoder with what its tokenizer opens texts with', () => {
    const encoder = bertModel();
    const { windows } = calibrationWindows(encoder, {
      ids: Int32Array.from({ length: 30 }, (_, i) => 5 + i),
      context: 6,
    });
    expect(encoder.config.bosTokenId).toBeNull();
    expect([...windows[0]]).toEqual([2, 5, 6, 7, 8, 9]);
    const bare = { ...encoder, tokenizer: null };
    expect(() => calibrationWindows(bare, { ids: Int32Array.of(5, 6, 7), context: 3 })).toThrow(
      expect.objectContaining({ code: 'BOS_MISSING' }),
    );
  });

  it('refuses a text where there is no tokenizer', () => {
    expect(() => calibrationWindows(model, { text: 'a', context: 5 })).toThrow(
      expect.objectContaining({ code: 'TOKENIZER_MISSING' }),
    );
  });
});

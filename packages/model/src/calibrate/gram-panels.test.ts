import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { addGram, gramOf, gramPanels, mirrorUpper } from './gram-panels.ts';

beforeAll(async () => {
  tf.enableProdMode(); // keeps the backend from advertising others
  await tf.setBackend('cpu');
});

describe('gramPanels', () => {
  it.each([1, 16, 63, 64, 65, 511, 512, 513, 1000, 2048, 5632])(
    'covers %i columns once, in at most 8 panels',
    (columns) => {
      const panels = gramPanels(columns);
      expect(panels.length).toBeLessThanOrEqual(8);
      expect(panels.map(({ from }) => from)).toEqual([0, ...panels.slice(0, -1).map(({ to }) => to)]);
      expect(panels.at(-1)!.to).toBe(columns);
      expect(panels.every(({ from, to }) => to > from)).toBe(true);
    },
  );
});

describe('the Gram matrix', () => {
  // 150 columns are three panels, the last one of 22 rows.
  it.each([3, 64, 150])('is that of plain loops, summed over batches, with %i columns', (columns) => {
    const tokens = 20;
    const total = new Float64Array(columns * columns);
    const expected = new Float64Array(columns * columns);
    for (const batch of [1, 2]) {
      const x = Float32Array.from({ length: tokens * columns }, (_, i) => Math.sin(i * i + batch));
      const panels = tf.tidy(() =>
        gramOf(tf.tensor2d(x, [tokens, columns])).map((panel) => panel.dataSync() as Float32Array),
      );
      addGram(total, columns, panels);
      for (let t = 0; t < tokens; t++) {
        for (let i = 0; i < columns; i++) {
          for (let j = 0; j < columns; j++) expected[i * columns + j] += x[t * columns + i] * x[t * columns + j];
        }
      }
    }
    expect(mirrorUpper(total, columns)).toBe(true);
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) {
        expect(total[i * columns + j]).toBe(total[j * columns + i]);
        // Sums of 20 f32 products of at most 1.
        expect(Math.abs(total[i * columns + j] - expected[i * columns + j])).toBeLessThan(2 * 20 * 20 * 2 ** -24);
      }
    }
  });

  it.each([NaN, Infinity, -Infinity])('says that %d went into it, wherever it stands', (value) => {
    for (const at of [0, 1, 2, 4, 5, 8]) {
      const total = new Float64Array(9);
      const panel = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9);
      addGram(total, 3, [panel]);
      panel[at] = value;
      addGram(total, 3, [panel]);
      addGram(total, 3, [panel.map((v) => -v)]);
      expect(mirrorUpper(total, 3)).toBe(false);
    }
  });
});

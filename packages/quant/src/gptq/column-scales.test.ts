import type { IntegerScheme, ScaleDType } from '@pith/tensor-core';
import { createKernelPool } from '@pith/tensor-core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { shrinkFactors } from '../range/search.ts';
import { ColumnScales } from './column-scales.ts';
import { rowScaleReference, type ScaleSearch } from './column-scales-reference.ts';

const pool = createKernelPool({ threads: 2 });
afterAll(() => pool.dispose());

let state = 11;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
}

const FACTORS = {
  one: Float32Array.of(1),
  search: shrinkFactors({ kind: 'mse', candidates: 20, smallest: 0.2 }),
};
const scheme = (bits: number, symmetric: boolean, scaleDType: ScaleDType): IntegerScheme => ({
  ...{ kind: 'int', bits, symmetric, granularity: { kind: 'channel' }, scaleDType },
});

const CASES = [2, 3, 4, 8].flatMap((bits) =>
  [true, false].flatMap((symmetric) =>
    (['f32', 'f16', 'bf16'] as const).flatMap((scaleDType) => [
      { bits, symmetric, scaleDType, absolute: false, factors: FACTORS.one, norm: 2, weighted: false },
      { bits, symmetric, scaleDType, absolute: !symmetric, factors: FACTORS.search, norm: 2, weighted: bits === 3 },
      {
        bits,
        symmetric,
        scaleDType,
        absolute: false,
        factors: FACTORS.search,
        norm: Math.fround(2.4),
        weighted: bits !== 3,
      },
    ]),
  ),
);

describe('obsScales', () => {
  it.each(CASES)(
    'is the specification bit for bit: $bits bits, symmetric $symmetric, $scaleDType, norm $norm, weighted $weighted',
    async ({ bits, symmetric, scaleDType, absolute, factors, norm, weighted }) => {
      const search: ScaleSearch = { scheme: scheme(bits, symmetric, scaleDType), absolute, factors, norm };
      // No multiple of a tile; longer than a segment.
      const [rows, columns, first, last] = [21, 150, 7, 149];
      const values = Float32Array.from({ length: rows * columns }, (_, at) => {
        const row = at % rows;
        // Rows of very different size, one of zeros, one without negatives.
        return row === 3
          ? 0
          : (row === 5 ? Math.abs(random()) : random() ** 3) * 10 ** (row % 7 === 6 ? -22 : (row % 5) - 2);
      });
      const importance = weighted ? Float32Array.from({ length: last - first }, () => Math.abs(random())) : undefined;
      const chooser = new ColumnScales(pool, search, 'w');
      const into = { scales: new Float32Array(rows), zeros: new Float32Array(rows) };
      await chooser.choose({ rows, columns, values }, [first, last], importance, into);
      chooser.free();
      for (let r = 0; r < rows; r++) {
        const row = Float32Array.from({ length: last - first }, (_, j) => values[(first + j) * rows + r]!);
        const { scale, zeroPoint } = rowScaleReference(row, search, importance);
        expect([r, into.scales[r], into.zeros[r]]).toEqual([r, scale, zeroPoint]);
      }
    },
  );

  it('gives its memory back, after refusals too', async () => {
    const search: ScaleSearch = { scheme: scheme(4, true, 'f16'), absolute: false, factors: FACTORS.search, norm: 2 };
    const small = createKernelPool({ threads: 0, maxBytes: 4 * 65536 });
    for (let i = 0; i < 20; i++) {
      const chooser = new ColumnScales(small, search, 'w');
      const values = new Float32Array(600 * 16).fill(1e9);
      const into = { scales: new Float32Array(600), zeros: new Float32Array(600) };
      await expect(chooser.choose({ rows: 600, columns: 16, values }, [0, 16], undefined, into)).rejects.toMatchObject({
        code: 'SCALE_OVERFLOW',
      });
      chooser.free();
    }
    await small.dispose();
  });
});

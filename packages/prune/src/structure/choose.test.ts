import { describe, expect, it } from 'vitest';
import { highestScores, leastLayers } from './choose.ts';
import { madeUpModel, memoryWeight, smallConfig } from './made-up-model.fixture.ts';
import { unitAxes } from './slice-groups.ts';
import { magnitudeScores, matrixSquares, sumsByUnit, taylorScores, wandaScores } from './unit-scores.ts';

describe('leastLayers', () => {
  it('takes the layers of least influence, the earlier of two equal ones', () => {
    expect(leastLayers([1.07, 0.09, 0.04, 0.09, 0.08, 0.11], 2)).toEqual([2, 4]);
    expect(leastLayers([0.5, 0.1, 0.1, 0.1], 2)).toEqual([1, 2]);
  });

  it('takes the run of neighbours whose sum is least', () => {
    expect(leastLayers([0.9, 0.1, 0.8, 0.3, 0.35, 0.1], 2, true)).toEqual([4, 5]);
    expect(leastLayers([0.1, 0.1, 0.1], 1, true)).toEqual([0]);
  });
});

describe('highestScores', () => {
  it('keeps the highest, ascending, the earlier of equal ones', () => {
    expect([...highestScores(Float64Array.of(3, 10, 2, 9, 2), 4, 'x')]).toEqual([0, 1, 2, 3]);
    // Sorted as numbers, not as text.
    expect([...highestScores(Float64Array.from({ length: 12 }, (_, i) => i), 3, 'x')]).toEqual([9, 10, 11]); // prettier-ignore
  });

  it('refuses scores that are no numbers', () => {
    expect(() => highestScores(Float64Array.of(1, NaN), 1, 'neurons of model.layers.0')).toThrow(
      expect.objectContaining({ code: 'SCORES_NOT_FINITE' }),
    );
  });
});

describe('unit scores', () => {
  const { architecture } = madeUpModel(smallConfig('llama', { hidden_size: 2, head_dim: 2, intermediate_size: 2 }));
  const [neurons] = unitAxes(architecture.blocks[0]!, 'neurons');
  const [groups] = unitAxes(architecture.blocks[0]!, 'kv-groups');

  it('sums squares along both axes', async () => {
    const squares = await matrixSquares(memoryWeight('w', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6)));
    expect([[...squares.rows], [...squares.columns]]).toEqual([[14, 77], [17, 29, 45]]); // prettier-ignore
    expect([...sumsByUnit([1, 2, 3, 4, 5, 6], 2)]).toEqual([3, 7, 11]);
  });

  it('wanda: norm of the input times norm of the column, over all columns of a unit', () => {
    expect([...wandaScores(neurons!, Float64Array.of(4, 9), Float64Array.of(1, 16))]).toEqual([2, 12]);
    // Two query heads of length 2 belong to each of the two groups.
    const squares = Float64Array.of(1, 1, 1, 1, 4, 4, 4, 4);
    expect([...wandaScores(groups!, squares, squares)]).toEqual([2, 8]);
  });

  it('taylor: |weight| times the root of the mean squared gradient, over the columns of a unit', () => {
    // [2, 2]: rows are outputs, columns neurons.
    const scores = taylorScores(neurons!, Float32Array.of(1, -2, -3, 4), Float32Array.of(4, 1, 1, 0.25));
    expect([...scores]).toEqual([1 * 2 + 3 * 1, 2 * 1 + 4 * 0.5]);
  });

  it('magnitude: product of the norms of the slices', () => {
    const of = (rows: number[], columns: number[]) => ({
      rows: Float64Array.from(rows),
      columns: Float64Array.from(columns),
    });
    const [gate, up] = neurons!.feeders.map(({ linear }) => linear.name);
    const squares = new Map([
      [gate!, of([4, 9], [])],
      [up!, of([1, 16], [])],
      [neurons!.reader.name, of([], [25, 1])],
    ]);
    expect([...magnitudeScores(neurons!, squares)]).toEqual([2 * 1 * 5, 3 * 4 * 1]);
  });
});

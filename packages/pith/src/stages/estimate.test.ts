// Memory of training, as planned: never less than what runs took.
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { planRecipe } from '../run/compress.ts';

const plan = (batchSize: number, context: number, memoryBytes?: number) =>
  planRecipe(shared('models/docs6m'), {
    recipe: {
      version: 1,
      stages: [
        {
          teacher: 'source',
          data: { text: shared('data/docs-calibration.txt'), context },
          distill: { method: 'offline', steps: 3, batchSize },
        },
      ],
    },
    ...(memoryBytes !== undefined && { memoryBytes }),
  });

describe.skipIf(!hasShared)('training of docs6m', () => {
  // Peak resident bytes of `pith distill`, two threads (/usr/bin/time).
  it.each([
    [1, 64, 639e6],
    [4, 256, 924e6],
    [8, 256, 1292e6],
    [4, 512, 1384e6],
  ])('%i windows of %i take at most what is planned', async (batchSize, context, measured) => {
    const { peakMemoryBytes } = await plan(batchSize, context);
    expect(peakMemoryBytes).toBeGreaterThan(measured);
    expect(peakMemoryBytes).toBeLessThan(1.5 * measured);
  });

  it('is refused where it needs more than may be used, with what takes less', async () => {
    expect((await plan(4, 512, 1e9)).problems).toMatchObject([
      { code: 'MEMORY_TOO_SMALL', message: expect.stringContaining('training on 4 windows of 512 at once') as string },
    ]);
    expect((await plan(1, 256, 1e9)).problems).toEqual([]);
  });
});

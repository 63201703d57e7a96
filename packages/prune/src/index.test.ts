import { expect, it } from 'vitest';
import * as prune from './index.ts';

it('exports exactly this', () => {
  expect(Object.keys(prune).sort()).toMatchInlineSnapshot(`
    [
      "apply",
      "columnNorms",
      "cubicSparsity",
      "formatPattern",
      "gradualTransform",
      "iterativeTransform",
      "magnitudeScore",
      "mask",
      "parsePattern",
      "pruneInto",
      "pruneIteratively",
      "prunePass",
      "roundShares",
      "sliceGroups",
      "sparsify",
      "sparsityOf",
      "structureTransform",
      "taylorScore",
      "wandaScore",
    ]
  `);
});

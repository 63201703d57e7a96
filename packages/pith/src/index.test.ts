import { expect, it } from 'vitest';
import * as pith from './index.ts';
import { version } from './version.ts';
import manifest from '../package.json' with { type: 'json' };

it('exports exactly this', () => {
  expect(Object.keys(pith).sort()).toEqual([
    'EXPORT_FORMATS',
    'RECEIPT_NAME',
    'ReceiptSchema',
    'RecipeSchema',
    'compress',
    'defineRecipe',
    'distill',
    'doctor',
    'evaluate',
    'exportModel',
    'factorize',
    'generate',
    'inspect',
    'logits',
    'parseRecipe',
    'plan',
    'planExport',
    'planRecipe',
    'prune',
    'push',
    'quantize',
    'readReceipt',
    'readRecipe',
    'verify',
    'version',
  ]);
});

it('has the version of its manifest', () => {
  expect(version).toBe(manifest.version);
});

import { expect, it } from 'vitest';
import * as quant from './index.ts';

it('exports exactly this', () => {
  expect(Object.keys(quant).sort()).toEqual([
    'DEFAULT_CANDIDATES',
    'DEFAULT_NORM',
    'DEFAULT_SMALLEST',
    'SCHEME_EXAMPLES',
    'awqConfig',
    'awqPass',
    'defineRange',
    'defineScheme',
    'dequantize',
    'fakeQuantize',
    'fittingGroupSizes',
    'formatRange',
    'formatScheme',
    'gptqPass',
    'gptqRounding',
    'isQuantizable',
    'localHost',
    'moduleMatcher',
    'parseRange',
    'parseScheme',
    'planRtn',
    'qatTransform',
    'quantize',
    'quantizeInto',
    'quantizeWeight',
    'quantizedPieces',
    'resolveScheme',
    'rtnConfig',
    'rtnPass',
    'smoothquantPass',
  ]);
});

import { expect, it } from 'vitest';
import * as lowrank from './index.ts';

it('exports exactly this', () => {
  expect(Object.keys(lowrank).sort()).toEqual([
    'cp',
    'cpTensor',
    'decomposeConfig',
    'decomposeTransform',
    'factorizeConfig',
    'factorizePass',
    'factorizeTransform',
    'restoreDense',
    'tucker',
    'tuckerTensor',
  ]);
});

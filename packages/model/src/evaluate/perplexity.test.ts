import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import type { Device } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderModel } from '../testing/folder-model.fixture.ts';
import { perplexity } from './perplexity.ts';

let device: Device;
beforeAll(() => {
  device = cpuDevice();
});
afterAll(() => device.dispose());

interface PerplexityCase {
  file: string;
  firstBytes: number | null;
  window: number;
  windows: number;
  tokens: number;
  predictedTokens: number;
  nll: number;
  firstWindows: number[];
}

const cases = hasShared
  ? (
      JSON.parse(readFileSync(shared('golden/stories260k/reference.json'), 'utf8')) as {
        perplexity: { cases: PerplexityCase[] };
      }
    ).perplexity.cases
  : [];

// golden/stories260k/reference.json: transformers 5.17, f32, CPU, the same protocol.
describe.skipIf(!hasShared)('perplexity of stories260k against the reference', () => {
  it.each(cases)('$file, first $firstBytes bytes, windows of $window', async (wanted) => {
    const model = folderModel(shared('models/stories260k'));
    const bytes = readFileSync(shared(wanted.file.replace('shared/', '')));
    const text = new TextDecoder().decode(wanted.firstBytes === null ? bytes : bytes.subarray(0, wanted.firstBytes));
    const result = await perplexity(model, { device, text, context: wanted.window });
    expect(result.nll).toBeCloseTo(wanted.nll, 5);
    expect(result.perplexity).toBeCloseTo(Math.exp(wanted.nll), 3);
    expect(result.tokens).toBe(wanted.predictedTokens);
    expect(result.textTokens).toBe(wanted.tokens);
    expect(result.windowNll).toHaveLength(wanted.windows);
    wanted.firstWindows.forEach((nll, i) => expect(result.windowNll[i]).toBeCloseTo(nll, 5));
  });
});

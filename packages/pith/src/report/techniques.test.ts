// The pages that real runs write, technique by technique, in a real browser: the pictures that belong to each are there.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RecipeStage } from '../recipe/types.ts';
import { compress } from '../run/compress.ts';
import { chromiumPath, openPage } from './chromium.fixture.ts';

const SIZE = 'Size by module';
const ERROR = 'Error by layer';
const SPECTRA = 'Spectra';
const TRAINING = 'Training';
const training = { steps: 3, batchSize: 2 };

const gptq: RecipeStage = { quantize: { method: 'gptq', scheme: 'w4' } };
const neurons: RecipeStage = { prune: { method: 'structure', neurons: 0.25, score: 'magnitude' } };
const CASES: Record<string, { stages: RecipeStage[]; charts: string[]; uncalibrated?: boolean }> = {
  gptq: { stages: [gptq], charts: [SIZE, ERROR] },
  qat: { stages: [{ quantize: { method: 'qat', scheme: 'w3', ...training } }], charts: [SIZE, ERROR, TRAINING] },
  'sparsegpt with quantization': {
    stages: [{ prune: { method: 'sparsegpt', pattern: '2:4', quantize: { scheme: 'w4' } } }],
    charts: [SIZE, ERROR],
  },
  'structure, whose weights have other shapes': { stages: [neurons], charts: [SIZE], uncalibrated: true },
  iterative: {
    stages: [
      { prune: { method: 'iterative', by: { method: 'magnitude' }, sparsity: 0.5, rounds: 2, fineTune: training } },
    ],
    charts: [SIZE, ERROR, TRAINING],
  },
  gradual: { stages: [{ prune: { method: 'gradual', sparsity: 0.5, ...training } }], charts: [SIZE, ERROR, TRAINING] },
  'whitened svd': { stages: [{ factorize: { method: 'whitened-svd', ratio: 0.2 } }], charts: [SIZE, ERROR, SPECTRA] },
  tucker: { stages: [{ factorize: { method: 'tucker', ratio: 0.2 } }], charts: [SIZE, ERROR], uncalibrated: true },
  distill: {
    stages: [{ teacher: 'source', distill: { method: 'offline', student: 'layers=0,4', ...training } }],
    charts: [SIZE, TRAINING],
  },
  'factors, then their codes': {
    stages: [{ factorize: { method: 'whitened-svd', ratio: 0.2 } }, gptq],
    charts: [SIZE, ERROR, SPECTRA],
  },
  'parts, training, codes': {
    stages: [neurons, { teacher: 'source', distill: { method: 'offline', ...training } }, gptq],
    charts: [SIZE, TRAINING],
  },
};

describe.skipIf(chromiumPath === undefined || !hasShared)('pages of runs (skipped without chromium or shared/)', () => {
  let folder: string;
  let browser: Browser;
  const part = (name: string, length: number) => {
    const path = join(folder, name);
    writeFileSync(path, readFileSync(shared(`data/${name}`), 'utf8').slice(0, length));
    return path;
  };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pith-pages-'));
    browser = await chromium.launch({ executablePath: chromiumPath!, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(Object.entries(CASES))('%s', async (name, { stages, charts, uncalibrated = false }) => {
    const output = join(folder, name.replaceAll(' ', '-'));
    const text = part('stories-calibration.txt', 6000);
    const recipe = {
      version: 1 as const,
      ...(!uncalibrated && { calibration: { text, samples: 4, context: 32 } }),
      stages,
      evaluate: { text: part('stories-eval.txt', 1200), context: 32 },
    };
    await compress(shared('models/stories260k'), { recipe, output });
    const { page, complaints, others } = await openPage(browser, join(output, 'report.html'));
    expect([complaints, others]).toEqual([[], []]);
    const drawn = page.locator('section', { has: page.locator('figure svg') }).locator('h2');
    expect(await drawn.allTextContents()).toEqual(charts);
    expect(await page.locator('h2', { hasText: 'In its own words' }).count()).toBe(1);
    await page.close();
  });
});

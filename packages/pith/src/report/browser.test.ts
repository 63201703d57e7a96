// The page in a real browser: no error on its console, no request to anywhere.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chromiumPath, openPage } from './chromium.fixture.ts';
import { EVERYTHING } from './report.fixture.ts';
import { writeReport } from './write-report.ts';

describe.skipIf(chromiumPath === undefined)('a report in Chromium (skipped without chromium on the PATH)', () => {
  let folder: string;
  let browser: Browser;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pith-report-'));
    browser = await chromium.launch({ executablePath: chromiumPath!, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(text: string) {
    const file = join(folder, 'report.html');
    writeFileSync(file, text);
    return openPage(browser, file);
  }

  it('complains of nothing, asks for nothing, and shows its charts', async () => {
    const { page, complaints, others } = await open(await writeReport(EVERYTHING));
    expect(complaints).toEqual([]);
    expect(others).toEqual([]);
    expect(await page.title()).toBe('demo-small: Pith report');
    const boxes = await page.locator('figure svg').evaluateAll((charts) =>
      charts.map((chart) => {
        const { width, height, right } = chart.getBoundingClientRect();
        return { large: width > 400 && height > 100, inside: right <= 900 };
      }),
    );
    expect(boxes).toEqual(Array.from({ length: 4 }, () => ({ large: true, inside: true })));
    await page.locator('summary').click();
    expect(await page.locator('details tr').count()).toBe(EVERYTHING.weights.length + 1);
  });

  it('fits a telephone', async () => {
    const { page } = await open(await writeReport(EVERYTHING));
    await page.setViewportSize({ width: 360, height: 700 });
    expect(await page.locator('html').evaluate((root) => root.scrollWidth)).toBeLessThanOrEqual(360);
  });

  it('runs nothing that a model put into it, even unescaped', async () => {
    const text = await writeReport(EVERYTHING);
    const { page, others } = await open(
      text.replace('</main>', '<script>document.title = "ran"</script><img src="https://example.org/x.png"></main>'),
    );
    expect(await page.title()).toBe('demo-small: Pith report');
    expect(others).toEqual([]);
  });
});

// The page in a real browser: no error on its console, no request to anywhere.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EVERYTHING } from './report.fixture.ts';
import { writeReport } from './write-report.ts';

const found = (process.env['PATH'] ?? '')
  .split(delimiter)
  .flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => join(folder, name)))
  .find((path) => existsSync(path));
if (found === undefined && process.env['CI']) throw new Error('the report is checked in Chromium, which is missing');

describe.skipIf(found === undefined)('a report in Chromium (skipped without chromium on the PATH)', () => {
  let folder: string;
  let browser: Browser;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pith-report-'));
    browser = await chromium.launch({ executablePath: found!, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(text: string) {
    const file = join(folder, 'report.html');
    writeFileSync(file, text);
    const page = await browser.newPage({ viewport: { width: 900, height: 900 } });
    const complaints: string[] = [];
    const requests: string[] = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('request', (request) => requests.push(request.url()));
    // What the page's own policy forbids never leaves the browser.
    page.on('requestfailed', (request) => {
      if (request.failure()?.errorText === 'csp') requests.splice(requests.indexOf(request.url()), 1);
    });
    const url = pathToFileURL(file).href;
    await page.goto(url);
    return { page, complaints, others: requests.filter((request) => request !== url && !request.startsWith('data:')) };
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

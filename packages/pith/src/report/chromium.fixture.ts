// Opens pages in a real browser and keeps what they complain of and ask for.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';

/** Chromium on the PATH; undefined without. */
export const chromiumPath = (process.env['PATH'] ?? '')
  .split(delimiter)
  .flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => join(folder, name)))
  .find((path) => existsSync(path));

if (chromiumPath === undefined && process.env['CI'])
  throw new Error('the report is checked in Chromium, which is missing');

/** Opens a file. */
export async function openPage(browser: Browser, file: string) {
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

// `npm test`: builds, lints, type-checks, tests and documents everything, served from turbo's cache where nothing changed,
// then one table of all test results.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ensureInstalled, requireNode, root, turbo } from './workspace.mjs';

requireNode();
ensureInstalled();

const places = ['packages', 'tooling', 'examples'].flatMap((folder) =>
  readdirSync(join(root, folder)).map((name) => `${folder}/${name}`),
);
const resultsOf = (place) => join(root, place, '.vitest/results.json');
// A result left by an earlier run must not be counted for a task that did not run this time.
for (const place of places) rmSync(resultsOf(place), { force: true });

const { status } = turbo([
  `--concurrency=${Math.max(2, availableParallelism())}`,
  'build',
  'lint',
  'check-types',
  'test',
  'docs',
  '--output-logs=errors-only',
  '--continue',
  ...process.argv.slice(2),
]);

const sum = { passed: 0, failed: 0, skipped: 0 };
const rows = [];
const failures = [];
const skips = [];
for (const place of places) {
  if (!existsSync(resultsOf(place))) continue;
  const results = JSON.parse(readFileSync(resultsOf(place), 'utf8'));
  const skipped = results.numPendingTests + results.numTodoTests;
  rows.push([place, results.numPassedTests, results.numFailedTests, skipped]);
  sum.passed += results.numPassedTests;
  sum.failed += results.numFailedTests;
  sum.skipped += skipped;
  for (const file of results.testResults) {
    for (const test of file.assertionResults) {
      if (test.status === 'failed') failures.push(`${place}: ${test.fullName}`);
      if (test.status === 'pending' || test.status === 'skipped') skips.push(`${place}: ${test.fullName}`);
    }
    if (file.status === 'failed' && file.assertionResults.length === 0) {
      failures.push(`${place}: ${file.name.slice(root.length)} did not run: ${file.message.split('\n')[0]}`);
      sum.failed += 1;
    }
  }
}
console.log();
for (const [place, passed, failed, skipped] of rows) {
  console.log(
    `${place.padEnd(24)}${String(passed).padStart(6)} passed${String(failed).padStart(5)} failed${String(skipped).padStart(5)} skipped`,
  );
}
if (skips.length > 0) console.log(`\nSkipped here:\n  ${skips.join('\n  ')}`);
if (failures.length > 0) console.error(`\nFailed:\n  ${failures.join('\n  ')}`);
if (status !== 0 && sum.failed === 0) console.error('\nA task other than a test failed: see above.');
console.log(`\n${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exit(status ?? 1);

// A library is silent: whatever a test prints to the console fails that test.
import { afterEach, beforeEach, vi } from 'vitest';

const METHODS = /** @type {const} */ (['log', 'info', 'warn', 'error', 'debug', 'trace']);
/** @type {string[]} */
let printed = [];

beforeEach(() => {
  printed = [];
  for (const method of METHODS) {
    vi.spyOn(console, method).mockImplementation((...args) => {
      printed.push(`console.${method}: ${args.map(String).join(' ')}`);
    });
  }
});

afterEach(() => {
  vi.restoreAllMocks();
  if (printed.length > 0) throw new Error(`the test printed to the console:\n${printed.join('\n')}`);
});

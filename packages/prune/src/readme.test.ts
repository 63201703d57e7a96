// The example of the readme is the program in test/, and it runs.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';

describe('the example of the readme', () => {
  it('is the one that is run here', () => {
    const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
    const example = readFileSync(join(import.meta.dirname, '../test/readme-example.ts'), 'utf8');
    expect(/```ts\n([\s\S]*?)```/.exec(readme)?.[1]).toBe(example);
  });

  it('takes half of the weights, and less than half of what they do', async () => {
    const print = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    await import('../test/readme-example.ts');
    const [[zeros, lostScore]] = print.mock.calls as unknown as [[number, number]];
    expect(zeros).toBe((64 * 256) / 2);
    expect(lostScore).toBeGreaterThan(0);
    expect(lostScore).toBeLessThan(0.25);
  });
});

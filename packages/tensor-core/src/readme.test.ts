// The example of the readme is the program beside this file, and it runs.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';

describe('the example of the readme', () => {
  it('is the one that is run here', () => {
    const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
    const example = readFileSync(join(import.meta.dirname, '../test/readme-example.ts'), 'utf8');
    expect(/```ts\n([\s\S]*?)```/.exec(readme)?.[1]).toBe(example);
  });

  it('prints what it says', async () => {
    const print = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    await import('../test/readme-example.ts');
    const [[epsilon, values], [byteLength, row], [codes], [fromPool]] = print.mock.calls as unknown as [
      [number, Float32Array],
      [number, Float32Array],
      [Int8Array],
      [Float32Array],
    ];
    expect([epsilon, values.length, byteLength]).toEqual([2 ** -7, 6, 12]);
    expect([...row]).toEqual([...values.slice(2, 4)]);
    expect([...codes]).toEqual([-8, 7, 0]);
    expect([...fromPool]).toEqual([...values]);
  });
});

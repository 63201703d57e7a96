import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memoryActivations, type ActivationStore } from '../calibrate/activations.ts';
import { spilledActivations } from './spilled-activations.ts';

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'pith-spill-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const filled = (store: ActivationStore, length: number, value: number) => store.take(length).fill(value);

describe.each([
  ['memory', () => memoryActivations()],
  ['a file', () => spilledActivations({ directory: join(directory, 'deep', 'down') })],
])('activations in %s', (_, make) => {
  it('are what was written last, whatever is fetched ahead or recycled', async () => {
    const store = make();
    for (let i = 0; i < 5; i++) await store.write(`a${i}`, filled(store, 1000 + (i % 2), i));
    for (let round = 1; round <= 3; round++) {
      for (let i = 0; i < 5; i++) {
        const values = await store.read(`a${i}`, `a${(i + 1) % 5}`);
        expect(values.length).toBe(1000 + (i % 2));
        expect(values.every((value) => value === i + 10 * (round - 1))).toBe(true);
        await store.write(`a${i}`, filled(store, values.length, i + 10 * round));
      }
    }
    await store.dispose();
  });

  it('are not those of a key that was fetched ahead and then written', async () => {
    const store = make();
    await store.write('a', filled(store, 8, 1));
    await store.write('b', filled(store, 8, 2));
    await store.read('a', 'b');
    await store.write('b', filled(store, 8, 3));
    expect([...(await store.read('b'))]).toEqual(Array(8).fill(3));
    await store.dispose();
  });

  it('use the place of what was dropped', async () => {
    const store = make();
    for (let depth = 0; depth < 4; depth++) {
      for (let i = 0; i < 3; i++) {
        if (depth > 0) {
          expect((await store.read(`${depth - 1}.${i}`, `${depth - 1}.${i + 1}`))[7]).toBe(depth - 1 + i);
        }
        await store.drop(`${depth - 1}.${i}`);
        await store.write(`${depth}.${i}`, filled(store, 8, depth + i));
      }
    }
    await store.dispose();
  });
});

describe('spilledActivations', () => {
  it('leaves no file behind', async () => {
    const store = spilledActivations({ directory });
    await store.write('a', new Float32Array(100));
    await store.read('a', 'a');
    await store.dispose();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('makes no file where nothing is written', async () => {
    await spilledActivations({ directory }).dispose();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('says which directory failed, with the next call', async () => {
    writeFileSync(join(directory, 'occupied'), '');
    const store = spilledActivations({ directory: join(directory, 'occupied') });
    await store.write('a', new Float32Array(4));
    await expect(store.write('b', new Float32Array(4))).rejects.toMatchObject({
      code: 'ACTIVATIONS_NOT_STORED',
      details: { directory: join(directory, 'occupied') },
    });
    await store.dispose();
  });
});

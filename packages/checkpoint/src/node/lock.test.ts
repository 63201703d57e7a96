import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acquireLock } from './lock.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pith-lock-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

// No process has an id this high: Linux stops at 2^22.
const NOBODY = 2 ** 30;

function leave(name: string, fields: object): void {
  const holder = { pid: process.pid, host: hostname(), processStart: null, ...fields };
  writeFileSync(join(directory, `lock-${name}`), JSON.stringify(holder));
}

describe('acquireLock', () => {
  it('lets one in at a time', async () => {
    const lock = await acquireLock(directory);
    await expect(acquireLock(directory)).rejects.toMatchObject({
      code: 'OUTPUT_LOCKED',
      details: { pid: process.pid },
    });
    await lock.release();
    await lock.release();
    await (await acquireLock(directory)).release();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('never lets two in, however many start in one moment over what dead ones left', async () => {
    for (let round = 0; round < 10; round++) {
      leave('dead', { pid: NOBODY });
      const results = await Promise.allSettled(Array.from({ length: 5 }, () => acquireLock(directory)));
      const held = results.filter((result) => result.status === 'fulfilled');
      expect(held.length).toBeLessThanOrEqual(1);
      expect(readdirSync(directory)).toHaveLength(held.length);
      for (const { value } of held) await value.release();
    }
  });

  it('takes over from a process that is gone', async () => {
    leave('dead', { pid: NOBODY });
    const lock = await acquireLock(directory);
    expect(readdirSync(directory)).toHaveLength(1);
    await lock.release();
  });

  it('takes over from a process whose id was given out again', async () => {
    if (!existsSync('/proc/self/stat')) return;
    leave('recycled', { processStart: 'another boot:1' });
    await (await acquireLock(directory)).release();
  });

  it('takes over a lock that a power failure tore', async () => {
    writeFileSync(join(directory, 'lock-torn'), '');
    await (await acquireLock(directory)).release();
  });

  it('does not judge a process of another host', async () => {
    leave('far', { host: 'elsewhere', pid: NOBODY });
    await expect(acquireLock(directory)).rejects.toThrow(/on elsewhere; .* delete .* when it is gone/);
  });
});

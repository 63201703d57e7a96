import { describe, expect, it } from 'vitest';
import { prefetch } from './prefetch.ts';

const pause = () => new Promise((resolve) => setTimeout(resolve, 1));

/** Runs through numbers and notes when each was asked for, loaded and used. */
async function trace(ahead: boolean, failAt = Infinity, stopAt = Infinity): Promise<string[]> {
  const log: string[] = [];
  const load = async (item: number) => {
    log.push(`ask ${item}`);
    await pause();
    if (item === failAt) throw new Error(`no ${item}`);
    log.push(`have ${item}`);
    return item * 10;
  };
  try {
    for await (const [item, value] of prefetch([1, 2, 3], load, ahead)) {
      expect(value).toBe(item * 10);
      await pause();
      await pause();
      log.push(`used ${item}`);
      if (item === stopAt) break;
    }
  } catch (error) {
    log.push((error as Error).message);
  }
  return log;
}

describe('prefetch', () => {
  it('asks for the next item before the current one is used', async () => {
    const log = await trace(true);
    expect(log.indexOf('ask 2')).toBeLessThan(log.indexOf('used 1'));
    expect(log.indexOf('ask 3')).toBeGreaterThan(log.indexOf('have 2'));
    expect(log.filter((entry) => entry.startsWith('used'))).toEqual(['used 1', 'used 2', 'used 3']);
  });

  it('or only when it is needed, so that one item is in memory', async () => {
    expect(await trace(false)).toEqual([1, 2, 3].flatMap((i) => [`ask ${i}`, `have ${i}`, `used ${i}`]));
  });

  it('throws a failure where the item would come, after those before it were used', async () => {
    const log = await trace(true, 2);
    expect(log).toContain('used 1');
    expect(log.at(-1)).toBe('no 2');
  });

  it('waits for what is being loaded when the reader stops early', async () => {
    const log = await trace(true, Infinity, 1);
    expect(log.at(-1)).toBe('used 1');
    expect(log).toContain('have 2');
    expect(log).not.toContain('ask 3');
  });

  it('gives nothing for nothing', async () => {
    for await (const entry of prefetch([], () => Promise.resolve(1), true)) expect(entry).toBe('never');
  });
});

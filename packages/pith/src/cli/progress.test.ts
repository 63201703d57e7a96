import { describe, expect, it } from 'vitest';
import { testHost } from './cli-host.fixture.ts';
import { createProgressView, describeProgress } from './progress.ts';
import { createTerminal } from './terminal.ts';

const event = (done: number, bytesDone: number) =>
  ({ phase: 'quantize', done, total: 10, unit: 'tensor', bytesDone, bytesTotal: 1e9 }) as const;

describe('describeProgress', () => {
  const estimate = { fraction: 0.4, elapsedSeconds: 2, measure: 'bytes', rate: 2e8, remainingSeconds: 3 } as const;

  it('gives rate and time left by bytes where there are bytes', () => {
    expect(describeProgress(event(4, 4e8), estimate)).toBe('4/10 tensors, 400 MB of 1.00 GB, 200 MB/s, 3.0 s left');
    expect(describeProgress({ ...event(4, 4e8), unit: 'byte' }, estimate)).toMatch(/^400 MB of/);
  });

  it('gives them by units otherwise', () => {
    expect(
      describeProgress(
        { phase: 'p', done: 30, total: 40, unit: 'window' },
        { ...estimate, measure: 'units', rate: 10 },
      ),
    ).toBe('30/40 windows, 10.0 windows/s, 3.0 s left');
  });

  it('puts the loss of training first', () => {
    expect(
      describeProgress(
        { phase: 'train', item: 'loss 3.217', done: 30, total: 40, unit: 'step' },
        { ...estimate, measure: 'units', rate: 10 },
      ),
    ).toBe('loss 3.217, 30/40 steps, 10.0 steps/s, 3.0 s left');
  });

  it('does not guess at the start', () => {
    expect(describeProgress(event(0, 0), { ...estimate, elapsedSeconds: 0.1 })).toBe('0/10 tensors, 0 B of 1.00 GB');
  });
});

describe('createProgressView', () => {
  it('prints a plain line every few seconds where there is no terminal', () => {
    const { host, written } = testHost();
    let time = 0;
    const view = createProgressView(createTerminal(host.stdout, host.stderr, {}), undefined, () => time);
    for (; time <= 12_000; time += 100) view.listener(event(1, time * 1e4));
    expect(written.stderr.split('\n').filter(Boolean)).toHaveLength(2);
    expect(written.stderr).toMatch(/^quantize: 1\/10 tensors, .* left\n/);
    view.finish();
  });

  it.each([
    [100, /^train █+░+  25%  loss 4\.125, 10\/40 steps, 2\.00 steps\/s, 15 s left$/],
    [60, /^train 25% loss 4\.125, 10\/40 steps, 2\.00 steps\/s, 15 s left$/],
    [53, /^25% loss 4\.125, 10\/40 steps, 2\.00 steps\/s, 15 s left$/],
    [20, /^25% loss 4\.125, 10\/$/],
    [1, /^$/],
  ])('says the loss on a terminal of %i columns', (columns, line) => {
    const { host } = testHost();
    const shown: string[] = [];
    const live = Object.assign((text: string) => void shown.push(text), { clear: () => undefined });
    let time = 0;
    const terminal = createTerminal(host.stdout, { ...host.stderr, columns }, {});
    const view = createProgressView(terminal, live, () => time);
    for (let done = 0; done <= 10; done++, time += 500) {
      view.listener({ phase: 'train', item: 'loss 4.125', done, total: 40, unit: 'step' });
    }
    expect(shown.at(-1)).toMatch(line);
  });

  it('keeps one line alive on a terminal, within its width, and clears it', () => {
    const { host } = testHost();
    const shown: string[] = [];
    let cleared = 0;
    const live = Object.assign((text: string) => void shown.push(text), { clear: () => void cleared++ });
    let time = 0;
    const view = createProgressView(createTerminal(host.stdout, host.stderr, {}), live, () => time);
    for (let done = 0; done <= 10; done++, time += 50) view.listener(event(done, done * 1e8));
    expect(shown.length).toBeGreaterThan(3);
    expect(shown.length).toBeLessThan(11);
    expect(shown.at(-1)).toContain('100%');
    for (const line of shown) expect(line.length).toBeLessThan(100);
    view.finish();
    expect(cleared).toBe(1);
  });
});

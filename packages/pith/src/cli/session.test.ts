import { PithError } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { testHost } from './cli-host.fixture.ts';
import { runSession } from './session.ts';

const outcome = { json: { answer: 42 }, text: 'the answer is 42\n' };

describe('runSession', () => {
  it('prints for people', async () => {
    const { host, written } = testHost();
    const status = await runSession(host, {}, async (session) => {
      session.say('before\n');
      return outcome;
    });
    expect({ status, ...written }).toEqual({ status: 0, stdout: 'before\nthe answer is 42\n', stderr: '' });
  });

  it('keeps stdout to the one document of --json', async () => {
    const { host, written } = testHost();
    await runSession(host, { json: true }, async (session) => {
      session.say('before\n');
      session.progress({ phase: 'work', done: 1, total: 1, unit: 'step' });
      return { ...outcome, exitCode: 2 };
    });
    expect(JSON.parse(written.stdout)).toEqual(outcome.json);
    expect(written.stderr).toContain('before');
  });

  it('says nothing but the result with --quiet', async () => {
    const { host, written } = testHost();
    await runSession(host, { quiet: true }, async (session) => {
      session.say('before\n');
      return outcome;
    });
    expect(written).toEqual({ stdout: outcome.text, stderr: '' });
  });

  it('prints a failure on both streams where stdout belongs to JSON', async () => {
    const { host, written } = testHost();
    const status = await runSession(host, { json: true }, async () => {
      throw new PithError('NO_GOOD', 'work: it must be good, got bad; mend it', { details: { what: 'bad' } });
    });
    expect(status).toBe(2);
    expect(JSON.parse(written.stdout)).toEqual({
      error: { code: 'NO_GOOD', message: 'work: it must be good, got bad; mend it', details: { what: 'bad' } },
    });
    expect(written.stderr).toBe('error work: it must be good, got bad; mend it (NO_GOOD)\n');
  });

  it('shows where a fault of ours came from', async () => {
    const { host, written } = testHost();
    const status = await runSession(host, {}, async () => {
      throw new TypeError('oops');
    });
    expect(status).toBe(1);
    expect(written.stderr).toContain('session.test.ts');
    expect(written.stderr).toContain('a fault of Pith');
  });

  it('aborts at Ctrl-C', async () => {
    const { host, interrupt, written } = testHost();
    const status = await runSession(host, {}, async ({ signal }) => {
      interrupt();
      expect(signal.aborted).toBe(true);
      throw new PithError('STOPPED', 'work: stopped', { kind: 'stopped' });
    });
    expect(status).toBe(3);
    expect(written.stderr).toMatch(/^Stopping.*\nstopped work: stopped/);
    expect(interrupt).not.toThrow();
  });

  it.each([
    [{}, true],
    [{ NO_COLOR: '1' }, false],
    [{ TERM: 'dumb' }, false],
    [{ NO_COLOR: '' }, true],
  ])('on a terminal with %j colours are %s', async (environment, coloured) => {
    const { host } = testHost(environment, true);
    await runSession(host, {}, async ({ style }) => {
      expect(style('red', 'x') !== 'x').toBe(coloured);
      return outcome;
    });
  });
});

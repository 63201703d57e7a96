import { expect, it } from 'vitest';
import { checkNode, doctor } from './doctor.ts';

it('finds this machine able', async () => {
  const report = await doctor();
  expect(report.checks.map(({ name }) => name)).toEqual([
    'node',
    'wasm simd',
    'threads',
    'onnxruntime',
    'memory',
    'disk',
  ]);
  for (const check of report.checks) {
    if (['memory', 'disk'].includes(check.name)) continue;
    expect(check).toMatchObject({ ok: true });
    expect(check.remedy).toBeUndefined();
  }
});

it.each([
  ['20.19.0', true],
  ['22.1.0', true],
  ['20.18.9', false],
  ['18.20.0', false],
])('node %s: %s', (version, ok) => {
  const check = checkNode(version);
  expect(check.ok).toBe(ok);
  expect(check.remedy === undefined).toBe(ok);
});

it('stops when asked to', async () => {
  await expect(doctor({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'STOPPED' });
});

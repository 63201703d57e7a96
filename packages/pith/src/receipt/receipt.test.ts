import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readReceipt, RECEIPT_NAME, receiptText, sealReceipt } from './receipt.ts';
import type { Receipt } from './types.ts';

const digest = (digit: string): string => digit.repeat(64);
const content: Omit<Receipt, 'seal'> = {
  receipt: 1,
  operation: 'quantize',
  versions: { pith: '0.1.0' },
  options: { method: 'rtn', scheme: 'w8' },
  planSha256: digest('1'),
  source: {
    architecture: 'llama',
    files: [{ name: 'model.safetensors', bytes: 100, hashedBytes: 40, sha256: digest('2') }],
    tensors: [
      {
        name: 'w',
        file: 'model.safetensors',
        dtype: 'bf16',
        shape: [5, 6],
        bytes: 60,
        leafBytes: 4096,
        sha256: digest('3'),
      },
    ],
    sha256: digest('4'),
  },
  output: { format: 'compressed-tensors', files: [], tensors: [] },
  weights: [
    {
      name: 'w',
      action: 'quantize',
      reason: 'linear layer',
      shape: [5, 6],
      bytesBefore: 60,
      bytesAfter: 40,
      error: { mse: 1e-6, snrDb: 40.5, maxError: 0.01, clipped: 0 },
    },
  ],
  interventions: [],
  totals: { parameters: 30, bytesBefore: 100, bytesAfter: 80, bitsPerWeight: 10.67 },
  run: {
    started: '2026-01-01T00:00:00.000Z',
    finished: '2026-01-01T00:00:01.000Z',
    seconds: 1,
    peakMemoryBytes: 1e8,
    threads: 2,
    resumedUnits: 0,
    units: 1,
    host: { node: '20.19.0', platform: 'linux', architecture: 'x64', processors: 2 },
  },
};

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pith-receipt-'));
});
afterEach(() => rmSync(directory, { recursive: true }));
const put = (value: unknown): void =>
  writeFileSync(join(directory, RECEIPT_NAME), typeof value === 'string' ? value : JSON.stringify(value));

describe('receipt', () => {
  it('is read back as it was sealed', async () => {
    const receipt = sealReceipt(content);
    put(receiptText(receipt));
    expect(await readReceipt(directory)).toEqual(receipt);
  });

  it('has the same seal for another run of the same job', () => {
    const other = sealReceipt({ ...content, run: { ...content.run, seconds: 99 } });
    expect(other.seal).toBe(sealReceipt(content).seal);
  });

  it('is refused when it was edited', async () => {
    const receipt = sealReceipt(content);
    put({ ...receipt, totals: { ...receipt.totals, bitsPerWeight: 2 } });
    await expect(readReceipt(directory)).rejects.toMatchObject({ code: 'RECEIPT_INVALID' });
    await expect(readReceipt(directory)).rejects.toThrow('its seal is broken');
  });

  it.each([
    ['absent', undefined, 'RECEIPT_MISSING'],
    ['not JSON', '{', 'RECEIPT_INVALID'],
    ['something else', '[]', 'RECEIPT_INVALID'],
    ['one with a key too many', { ...sealReceipt(content), extra: 1 }, 'RECEIPT_INVALID'],
    ['one with a leaf size that no reader would allocate', leafOf(2 ** 40), 'RECEIPT_INVALID'],
  ])('%s is refused', async (_what, value, code) => {
    if (value !== undefined) put(value);
    await expect(readReceipt(directory)).rejects.toMatchObject({ code });
  });
});

function leafOf(leafBytes: number): unknown {
  const receipt = sealReceipt(content);
  return { ...receipt, source: { ...receipt.source, tensors: [{ ...receipt.source.tensors[0], leafBytes }] } };
}

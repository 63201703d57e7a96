import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generate } from '../generate/generate.ts';
import { logits } from '../generate/logits.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { quantize } from '../run/quantize.ts';
import { evaluate } from './evaluate.ts';

let root: string;
let text: string;
const model = shared('models/stories260k');
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-evaluate-'));
  text = join(root, 'text.txt');
  if (hasShared) writeFileSync(text, readFileSync(shared('data/stories-eval.txt')).subarray(0, 3000));
});
afterAll(() => rmSync(root, { recursive: true }));

describe.skipIf(!hasShared)('evaluate', () => {
  it('tells perplexity with its protocol, and distance from a reference', async () => {
    const alone = await evaluate(model, { data: text, context: 64 });
    expect(alone.perplexity).toBeCloseTo(Math.exp(alone.nll), 10);
    expect(alone.protocol).toMatchObject({ context: 64, stride: 63, tail: 'dropped' });
    expect(alone.tokens).toBe(alone.protocol.windows * 63);
    expect(alone.kl).toBeUndefined();
    const same = await evaluate(model, { data: text, context: 64, reference: model });
    expect(same).toMatchObject({ kl: 0, klP99: 0, top1Agreement: 1 });
    expect(same.perplexity).toBeCloseTo(alone.perplexity, 6);
    expect(same.referencePerplexity).toBe(same.perplexity);
  });

  it('puts quality before and after into the receipt', async () => {
    const output = join(root, 'out');
    const result = await quantize(model, { output, scheme: 'w4g4', evaluate: { text, context: 64 } });
    const { quality } = await readReceipt(output);
    expect(result.quality).toEqual(quality);
    expect(quality).toMatchObject({ protocol: { context: 64 } });
    const after = await evaluate(output, { data: text, context: 64, reference: model });
    expect(quality!.after.perplexity).toBeCloseTo(after.perplexity, 6);
    expect(quality!.before.perplexity).toBeCloseTo(after.referencePerplexity!, 6);
    expect(quality!.textSha256).toBe(after.text.sha256);
    expect(after.kl).toBeGreaterThan(0);
  });

  it('is refused before a run that would end with it', async () => {
    const output = join(root, 'never');
    const run = (data: string, context: number): Promise<unknown> =>
      quantize(model, { output, scheme: 'w8', evaluate: { text: data, context } });
    await expect(run(join(root, 'nothing.txt'), 64)).rejects.toMatchObject({ code: 'TEXT_NOT_READABLE' });
    await expect(run(text, 513)).rejects.toMatchObject({ code: 'EVALUATION_OPTIONS' });
    expect(existsSync(`${output}.pith-partial`)).toBe(false);
  });

  it.each([
    ['that is missing', 'nothing.txt', undefined, 'TEXT_NOT_READABLE'],
    ['that is a directory', '.', undefined, 'TEXT_NOT_READABLE'],
    ['that is no UTF-8', 'latin.txt', Buffer.from([0x66, 0xfc, 0x72]), 'TEXT_NOT_UTF8'],
    ['that is empty', 'empty.txt', Buffer.from(' \n'), 'TEXT_TOO_SHORT'],
    ['that fills no window', 'short.txt', Buffer.from('Once upon a time'), 'TEXT_TOO_SHORT'],
  ])('refuses a text %s', async (_what, name, content, code) => {
    const data = join(root, name);
    if (content !== undefined) writeFileSync(data, content);
    await expect(evaluate(model, { data, context: 64 })).rejects.toMatchObject({ code, kind: 'input' });
  });
});

describe.skipIf(!hasShared)('generate', () => {
  it('continues a text the same way for the same seed, and tells it piece by piece', async () => {
    let told = '';
    const options = { prompt: 'Once upon a time', maxTokens: 12 };
    const greedy = await generate(model, { ...options, onText: (piece) => (told += piece) });
    expect(told).toBe(greedy.text);
    expect(greedy).toMatchObject({ prompt: options.prompt, tokens: 12, finish: 'length' });
    const sampled = await generate(model, { ...options, temperature: 1, seed: 5 });
    expect((await generate(model, { ...options, temperature: 1, seed: 5 })).text).toBe(sampled.text);
    expect((await generate(model, { ...options, temperature: 1, seed: 6 })).text).not.toBe(sampled.text);
  });
});

describe.skipIf(!hasShared)('logits', () => {
  it('writes them as safetensors, and never over a file unless asked to', async () => {
    const output = join(root, 'logits.safetensors');
    const result = await logits(model, { ids: [1, 403, 407], output });
    expect(result.shape).toEqual([1, 3, 512]);
    const bytes = readFileSync(output);
    const head = 8 + Number(bytes.readBigUInt64LE(0));
    expect(bytes.length).toBe(head + 3 * 512 * 4);
    expect(JSON.parse(bytes.toString('utf8', 8, head))).toMatchObject({ logits: { dtype: 'F32', shape: [1, 3, 512] } });
    await expect(logits(model, { ids: [1], output })).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' });
    expect(readFileSync(output)).toEqual(bytes);
    await logits(model, { ids: [1], output, overwrite: true });
    expect(readFileSync(output).length).toBeLessThan(bytes.length);
    await expect(logits(model, { ids: [512], output: `${output}2` })).rejects.toMatchObject({
      code: 'TOKEN_OUT_OF_RANGE',
    });
  });
});

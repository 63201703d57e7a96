// Perplexity of GGUF files under llama.cpp's own protocol. Golden: llama-perplexity on the files that llama-quantize made of
// stories260k, and the same protocol on their dequantized weights with transformers in f32 (the file says the calls).
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluate } from '../../evaluate/evaluate.ts';
import { exportModel } from '../export-model.ts';

interface Golden {
  readonly protocol: {
    readonly chunks: number;
    readonly scoredTokens: number;
    readonly text: { readonly tokens: number };
  };
  readonly types: Readonly<Record<string, { readonly perplexity: number; readonly perplexityDequantizedF32: number }>>;
}

describe.skipIf(!hasShared)('perplexity by the protocol of llama.cpp', () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'pith-perplexity-'));
  });
  afterAll(() => rmSync(root, { recursive: true }));
  const golden = () => JSON.parse(readFileSync(shared('golden/stories260k/gguf.json'), 'utf8')) as Golden;
  const measure = (path: string) =>
    evaluate(path, {
      data: shared('golden/stories260k/stories-eval.txt'),
      context: 256,
      protocol: 'llama.cpp',
      threads: 1,
    });

  it('of its own f16 file', async () => {
    const { protocol, types } = golden();
    const measured = await measure(shared('golden/stories260k/stories260k-f16.gguf'));
    expect(measured.protocol).toMatchObject({ windows: protocol.chunks, firstPredicted: 129, predictedPerWindow: 127 });
    expect(measured.tokens).toBe(protocol.scoredTokens);
    expect(measured.text.tokens + 1).toBe(protocol.text.tokens);
    expect(measured.perplexity / types['F16']!.perplexityDequantizedF32).toBeCloseTo(1, 5);
    expect(measured.perplexity / types['F16']!.perplexity).toBeCloseTo(1, 2);
  });

  // The others were measured by hand: docs/formats/gguf.md.
  it.each(['Q4_K_M', 'Q2_K'])('of our %s', async (kind) => {
    const path = join(root, `${kind}.gguf`);
    await exportModel(shared('models/stories260k'), { format: `gguf:${kind}`, output: path, threads: 1 });
    const { perplexity } = await measure(path);
    const { perplexity: theirs, perplexityDequantizedF32: exact } = golden().types[kind]!;
    expect(perplexity / exact).toBeCloseTo(1, 5);
    // They round activations to 8 bits.
    expect(Math.abs(perplexity / theirs - 1)).toBeLessThan(0.01);
  });
});

// `pith export` and `pith plan` of an export on the command line: what is measured, what is planned, what contradicts itself.
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cli } from '../cli/cli-host.fixture.ts';
import type { Plan } from '../plan/types.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { writeMadeUpCheckpoint } from '../testing/made-up-checkpoint.fixture.ts';
import type { ExportResult } from './export-model.ts';

let root: string;
let model: string;
let ids: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-export-cli-'));
  model = join(root, 'model');
  writeMadeUpCheckpoint(model, {
    model_type: 'llama',
    vocab_size: 256,
    hidden_size: 64,
    intermediate_size: 96,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
    bos_token_id: 1,
    eos_token_id: 2,
  });
  ids = join(root, 'ids.json');
  writeFileSync(ids, JSON.stringify(Array.from({ length: 200 }, (_, i) => (7 * i * i + 3 * i) % 250)));
});
afterAll(() => rmSync(root, { recursive: true }));

const json = async (...words: string[]) => {
  const { exitCode, stdout } = await cli(...words, '--json', '--threads', '1');
  return { exitCode, result: JSON.parse(stdout) as unknown };
};

describe('pith export --eval', () => {
  it('measures before and after on a text, into the result and the receipt', async () => {
    const output = join(root, 'small.gguf');
    const words = ['export', model, '--format', 'gguf:q4_0', '-o', output, '--eval', ids, '--context', '32'];
    const { exitCode, result } = await json(...words);
    expect(exitCode).toBe(0);
    const { quality } = result as ExportResult;
    const { quality: kept } = await readReceipt(output);
    expect(quality).toEqual(kept);
    expect(quality!.protocol).toMatchObject({ context: 32, windows: Math.floor(200 / 31) });
    expect(quality!.after.kl).toBeGreaterThan(0);
    // The same numbers as an evaluation of the file.
    const { result: measured } = await json('eval', output, '--data', ids, '--context', '32', '--reference', model);
    const { perplexity, nll, kl, klP99, top1Agreement } = quality!.after;
    expect(measured).toMatchObject({ perplexity, nll, kl, klP99, top1Agreement });
    const said = await cli('export', model, '--format', 'gguf:f32', '-o', join(root, 'f32.gguf'), '--eval', ids);
    expect(said.stderr + said.stdout).toMatch(/must be 2 to 64/);
    expect(said.exitCode).toBe(2);
  });

  it('is refused, before any work, for what Pith does not read, and for a text that is none', async () => {
    const output = join(root, 'never');
    const refused = async (...words: string[]) =>
      (await json('export', model, '-o', output, ...words)) as {
        exitCode: number;
        result: { error: { code: string } };
      };
    const unreadable = await refused('--format', 'onnx', '--eval', ids);
    expect([unreadable.exitCode, unreadable.result.error.code]).toEqual([2, 'EVALUATION_OPTIONS']);
    const missing = await refused('--format', 'gguf:f32', '--eval', join(root, 'absent.txt'));
    expect([missing.exitCode, missing.result.error.code]).toEqual([2, 'TEXT_NOT_READABLE']);
    expect(() => statSync(output)).toThrow();
  });
});

describe('pith plan --format of an export', () => {
  it.each(['gguf:q8_0', 'safetensors:bf16', 'gptq:4g32', 'mlx:4g32', 'bitsandbytes'])(
    '%s: says the size of what is written, and the memory it takes',
    async (format) => {
      const output = join(root, `planned-${format.replace(':', '-')}${format.startsWith('gguf') ? '.gguf' : ''}`);
      const { exitCode, result } = await json('plan', model, '--format', format, '-o', output);
      expect(exitCode).toBe(0);
      const plan = result as Plan;
      expect(plan.tensors.map(({ name }) => name)).toContain('model.layers.0.mlp.up_proj.weight');
      expect(plan.peakMemoryBytes).toBeGreaterThan(1e6);
      const written = (await json('export', model, '--format', format, '-o', output)).result as ExportResult;
      const sizes = written.files
        .filter((name) => /\.(gguf|safetensors|index\.json)$/.test(name))
        .map((name) => statSync(format.startsWith('gguf') ? output : join(output, name)).size);
      expect(sizes.reduce((a, b) => a + b, 0)).toBe(plan.bytesAfter);
      expect(plan.bitsPerWeight).toBe(written.bitsPerWeight);
    },
  );

  it('says in words what will happen, and no time that nobody knows', async () => {
    const { stdout, exitCode } = await cli('plan', model, '--format', 'gguf:q4_k_m', '--threads', '1');
    expect(exitCode).toBe(0);
    // 64 columns are no whole blocks of 256.
    expect(stdout).toMatch(/blk\.0\.attn_q\.weight as q5_0, whose blocks divide its columns, in place of q4_k/);
    expect(stdout).toMatch(/memory +at most/);
    expect(stdout).not.toMatch(/time +about/);
  });

  it('lists what does not fit, with exit status 2', async () => {
    const { exitCode, result } = await json('plan', model, '--format', 'gguf:q4_0', '--memory', '1MB');
    expect(exitCode).toBe(2);
    expect((result as Plan).problems).toMatchObject([{ code: 'MEMORY_TOO_SMALL' }]);
  });

  it('is a plan of quantize where quantize has the format, and takes no flags of methods', async () => {
    const { result } = await json('plan', model, '--format', 'gptq', '--scheme', 'w4g32');
    expect((result as Plan).stages).toMatchObject([{ kind: 'quantize' }]);
    const codes = async (...words: string[]) =>
      ((await json('plan', model, ...words)).result as { error: { code: string } }).error.code;
    expect(await codes('--format', 'gguf:q4_0', '--scheme', 'w4g32')).toBe('FORMAT_HOLDS_NO_CODES');
    expect(await codes('--format', 'gguf:q4_0', '--data', ids)).toBe('OPTION_CONTRADICTS');
    expect(await codes('--imatrix', 'x.dat')).toBe('OPTION_CONTRADICTS');
    expect(await codes('--format', 'gguf:q9')).toBe('FORMAT_VARIANT_UNKNOWN');
    expect(await codes('--format', 'gqtp')).toBe('FORMAT_UNKNOWN');
  });
});

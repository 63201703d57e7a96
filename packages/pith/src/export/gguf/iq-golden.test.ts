// IQ1, IQ2 and IQ3. Golden: what llama-quantize makes of the demo model with an importance matrix (`llama_model_quantize` of llama.cpp v0.5.0,
// ggml 0.25.3, the linux-x64 library of node-llama-cpp 3.22.1, of `pith export --format gguf:f32`; importance of column j of every matrix of the
// blocks: (1 + (7919 j) mod 97) / 16): SHA-256 of all tensors, by name. The whole files were equal, too, and those of docs6m. And the same files in
// llama.cpp itself.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runLlama } from '@pith-tooling/vitest/llama';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { openGguf, planGguf, type GgufValue } from '@pith/checkpoint';
import { ggufTensors } from '@pith/model';
import { openModel } from '@pith/model/node';
import { memoryBytes } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluate } from '../../evaluate/evaluate.ts';
import { exportModel } from '../export-model.ts';

const demo = fileURLToPath(new URL('../../../../../examples/demo-model/', import.meta.url));
const checkpoint = join(demo, 'checkpoint');

const GOLDEN = {
  iq3_xxs: '4fb976d84c1bf6af44eb007c4cfd2c2ecfea182899941c2637170b443b9c9c1c',
  iq3_xs: '16aaea5804764445c441334cedc56fa782a69a21d8452b7b8927437f7bac7978',
  iq3_s: '06078186e049e1a5e9f57ea0da61e82cbd2059964cd1fb30a653102cab6e6b34',
  iq3_m: '92617dac27258489d1448dd1c52814bfba8cd46ccefe648b2d9a8faa379505b7',
  iq2_xxs: 'c34c70d56dab973cacd204c116755fe6ff2fb2c67d5961da56e1f342ffa7e02f',
  iq2_xs: 'a41ca37b927c460f7854ef87c18a5e0c6e8de197d3b9b971690bc64fa8733b8d',
  iq2_s: 'ea8300e04b52340978bc58392d3ae2ab6ff737913deacd0fb6b4eb960ea80214',
  iq2_m: 'f7e4b63f8232bbf0973f7b5fc90269a57f3d78b70723bf55ea23ad428ed58ff1',
  iq1_s: '6625e40aedc4afa612b6f9d807c764b1ba9b2d3016eb4d7bbff05191de547410',
  iq1_m: 'cb05de34063cae2cb1d2b814fea5418fd4da71f971501c5df75914ec9083a45f',
} as const;
type Kind = keyof typeof GOLDEN;

let root: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'pith-iq-'));
  await writeImatrix(join(root, 'imatrix.gguf'));
});
afterAll(() => rmSync(root, { recursive: true }));

/** The matrix of the golden, as llama-imatrix writes one. */
async function writeImatrix(path: string): Promise<void> {
  const opened = await openModel(checkpoint);
  const tensors: { name: string; values: Float32Array }[] = [];
  for (const { name, shape } of ggufTensors(opened.architecture)) {
    if (!/^blk.*(attn|ffn)_(?!norm).*weight$/.test(name) || shape.length < 2) continue;
    const values = Float32Array.from({ length: shape.at(-1)! }, (_, j) => (1 + ((j * 7919) % 97)) / 16);
    tensors.push({ name: `${name}.in_sum2`, values }, { name: `${name}.counts`, values: Float32Array.of(1) });
  }
  await opened.close();
  const metadata = new Map<string, GgufValue>([['general.type', { type: 'string', value: 'imatrix' }]]);
  const specs = tensors.map(({ name, values }) => ({ name, shape: [values.length], type: 'f32' as const }));
  const { header, byteLength, tensors: places } = planGguf(metadata, specs);
  const bytes = new Uint8Array(byteLength);
  bytes.set(header);
  places.forEach(({ offset }, i) => bytes.set(new Uint8Array(tensors[i]!.values.buffer), offset));
  writeFileSync(path, bytes);
}

const made = new Map<Kind, string>();

async function exported(kind: Kind): Promise<string> {
  const output = made.get(kind) ?? join(root, `${kind}.gguf`);
  if (made.has(kind)) return output;
  const importance = join(root, 'imatrix.gguf');
  await exportModel(checkpoint, { format: `gguf:${kind}`, output, importance, threads: 1 });
  made.set(kind, output);
  return output;
}

describe('mixtures of one to three bits', { timeout: 60_000 }, () => {
  it.each(Object.entries(GOLDEN) as [Kind, string][])('have the tensors of llama-quantize: %s', async (kind, hash) => {
    const file = await exported(kind);
    const { tensors } = await openGguf(memoryBytes(readFileSync(file)), file);
    const all = createHash('sha256');
    for (const name of [...tensors.keys()].sort()) {
      const { source, byteLength } = tensors.get(name)!;
      all.update(await source.read(0, byteLength));
    }
    expect(all.digest('hex')).toBe(hash);
  });

  it.skipIf(!hasRuntime('node-llama-cpp'))('have the perplexity in llama.cpp that they have here', async () => {
    const context = 256;
    const data = join(root, 'text.txt');
    const model = await openModel(checkpoint);
    const text = readFileSync(join(demo, 'eval.txt'), 'utf8');
    writeFileSync(data, text.slice(0, 1600));
    const ids = [model.config.bosTokenId!, ...model.tokenizer!.encode(text.slice(0, 1600))].slice(0, context);
    const vocabulary = model.config.vocabularySize;
    await model.close();
    const kinds: readonly Kind[] = ['iq3_xs', 'iq2_xxs', 'iq2_xs', 'iq2_m', 'iq1_s', 'iq1_m'];
    const paths: string[] = [];
    for (const kind of kinds) paths.push(await exported(kind));
    const results = runLlama<{ rows: number[][] }>(paths.map((path) => ({ path, ids, vocabulary })));
    for (const [i, kind] of kinds.entries()) {
      const ours = await evaluate(paths[i]!, { data, context, protocol: 'llama.cpp', threads: 1 });
      expect(ours.protocol).toMatchObject({ windows: 1, firstPredicted: 129, predictedPerWindow: 127 });
      const { rows } = results[i]!;
      const losses = ids.slice(129).map((id, at) => -Math.log(rows[128 + at]![id]!));
      const theirs = Math.exp(losses.reduce((a, b) => a + b) / losses.length);
      expect(losses).toHaveLength(ours.tokens);
      // They round activations to 8 bits.
      expect(Math.abs(ours.perplexity / theirs - 1), `${kind}: ${ours.perplexity}, ${theirs}`).toBeLessThan(0.01);
    }
  });
});

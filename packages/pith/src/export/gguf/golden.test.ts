// Golden: the files that llama-quantize made of stories260k in f32 (sizes, checksums, perplexity on dequantized weights).
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openGguf, planGguf } from '@pith/checkpoint';
import { ggufTensors } from '@pith/model';
import { openModel } from '@pith/model/node';
import { interleavedRows, mixtureOf } from '@pith/quant';
import { memoryBytes } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportModel } from '../export-model.ts';
import { readReceipt } from '../../receipt/receipt.ts';
import { verify } from '../../verify/verify.ts';

interface Entry {
  readonly bytes: number;
  readonly sha256: string;
}

const { types } = (
  hasShared ? JSON.parse(readFileSync(shared('golden/stories260k/gguf.json'), 'utf8')) : { types: {} }
) as { types: Record<string, Entry> };
const kinds = Object.keys(types).filter((kind) => mixtureOf(kind.toLowerCase()) !== undefined);
const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

/** The f32 file that the goldens were made from: the metadata of the f16 file, the values of the checkpoint. */
async function f32File(path: string): Promise<void> {
  const golden = await openGguf(memoryBytes(readFileSync(shared('golden/stories260k/stories260k-f16.gguf'))), 'f16');
  const model = await openModel(shared('models/stories260k'));
  const metadata = new Map(golden.metadata).set('general.file_type', { type: 'uint32', value: 0 });
  const specs = [...golden.tensors.values()].map(({ name, shape }) => ({ name, shape, type: 'f32' as const }));
  const layout = planGguf(metadata, specs);
  const bytes = new Uint8Array(layout.byteLength);
  bytes.set(layout.header);
  const sources = new Map(ggufTensors(model.architecture).map((source) => [source.name, source]));
  for (const { name, offset } of layout.tensors) {
    const [{ name: weight, rotaryHeadDim }] = sources.get(name)!.parts as [
      { name: string; rotaryHeadDim: number | null },
    ];
    const values = await model.weights.get(weight)!.toF32();
    const columns = model.weights.get(weight)!.shape.at(-1)!;
    const moved = values.slice();
    if (rotaryHeadDim !== null) {
      for (const [to, from] of interleavedRows(values.length / columns, rotaryHeadDim).entries()) {
        moved.set(values.subarray(from * columns, (from + 1) * columns), to * columns);
      }
    }
    bytes.set(new Uint8Array(moved.buffer), offset);
  }
  await model.close();
  writeFileSync(path, bytes);
}

describe.skipIf(!hasShared)('a GGUF file of a GGUF file', () => {
  let root: string;
  let source: string;
  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'pith-golden-'));
    source = join(root, 'stories260k-f32.gguf');
    await f32File(source);
    expect(digest(source)).toBe(types['F32']!.sha256);
  });
  afterAll(() => rmSync(root, { recursive: true }));

  it.each(kinds)('is the file of llama-quantize, byte for byte: %s', async (kind) => {
    // The converter itself wrote these, in another order of tensors.
    if (kind === 'F32' || kind === 'F16' || kind === 'BF16') return;
    const output = join(root, `${kind}.gguf`);
    const result = await exportModel(source, { format: `gguf:${kind}`, output, threads: 1 });
    expect(result.bytesAfter).toBe(types[kind]!.bytes);
    expect(digest(output)).toBe(types[kind]!.sha256);
  });

  it('copies what has its type already, and says what is coded twice', async () => {
    const [q8, again, smaller] = ['q8', 'again', 'smaller'].map((name) => join(root, `${name}.gguf`)) as [
      string,
      string,
      string,
    ];
    await exportModel(source, { format: 'gguf:q8_0', output: q8, threads: 1 });
    await exportModel(q8, { format: 'gguf:q8_0', output: again, threads: 1 });
    expect(digest(again)).toBe(digest(q8));
    await exportModel(q8, { format: 'gguf:q4_0', output: smaller, threads: 1 });
    const { notices, weights } = await readReceipt(smaller);
    expect(notices!.join()).toMatch(/quantized again/);
    expect(weights.find(({ name }) => name.endsWith('q_proj.weight'))!.error!.snrDb).toBeGreaterThan(15);
    expect((await readReceipt(again)).notices!.join()).not.toMatch(/quantized again/);
  });

  it('hashes what it reads and writes on the way', async () => {
    const directory = shared('models/stories260k');
    const output = join(root, 'hashed.gguf');
    await exportModel(directory, { format: 'gguf:q8_0', output, threads: 2 });
    const receipt = await readReceipt(output);
    const treeOf = (bytes: Uint8Array, leafBytes: number): string => {
      const tree = createHash('sha256');
      for (let at = 0; at < bytes.length; at += leafBytes) {
        tree.update(
          createHash('sha256')
            .update(bytes.subarray(at, at + leafBytes))
            .digest(),
        );
      }
      return tree.digest('hex');
    };
    const written = readFileSync(output);
    const model = await openModel(directory);
    const [read, wrote] = [model.checkpoint.tensors, (await openGguf(memoryBytes(written), 'hashed')).tensors];
    expect([receipt.source.tensors.length, receipt.output.tensors.length]).toEqual([read.size, wrote.size]);
    for (const { name, leafBytes, sha256 } of receipt.source.tensors) {
      const { source: bytes, byteLength } = read.get(name)!;
      expect(treeOf(await bytes.read(0, byteLength), leafBytes), name).toBe(sha256);
    }
    for (const { name, leafBytes, sha256 } of receipt.output.tensors) {
      const { offset, byteLength } = wrote.get(name)!;
      expect(treeOf(written.subarray(offset, offset + byteLength), leafBytes), name).toBe(sha256);
    }
    await model.close();
  });

  it('in several files is read, and verified, as one', async () => {
    const output = join(root, 'split.gguf');
    const result = await exportModel(source, { format: 'gguf:q8_0', output, shardBytes: 60_000, threads: 1 });
    expect(result.files.length).toBeGreaterThan(3);
    expect(result.output).toBe(join(root, result.files[0]!));
    expect(result.files[0]).toBe(`split-00001-of-0000${result.files.length}.gguf`);
    expect(await verify(result.output)).toMatchObject({ ok: true, files: result.files.length });
    const [one, many] = [await openModel(join(root, 'q8.gguf')), await openModel(result.output)];
    expect([...many.weights.keys()].sort()).toEqual([...one.weights.keys()].sort());
    for (const [name, weight] of one.weights) {
      expect(await many.weights.get(name)!.toF32(), name).toEqual(await weight.toF32());
    }
    await one.close();
    await many.close();
    const whole = join(root, 'whole.gguf');
    await exportModel(result.output, { format: 'gguf:q8_0', output: whole, threads: 1 });
    expect(digest(whole)).toBe(types['Q8_0']!.sha256);
    // A damaged tensor is named.
    const bytes = readFileSync(result.output);
    bytes[bytes.length - 40]! ^= 1;
    writeFileSync(result.output, bytes);
    const { problems } = await verify(result.output);
    expect(problems.map(({ kind, of }) => [kind, of])).toEqual([['damaged', 'tensor']]);
  });
});

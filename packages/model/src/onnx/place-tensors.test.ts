// Where tensors lie, and files past 4 GiB in the real runtime.
import { existsSync } from 'node:fs';
import { open, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { OnnxModelBuilder } from '@pith/tensor-core';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { describe, expect, it } from 'vitest';
import { writeOnnx } from '../node/write-onnx.ts';
import { runOnnx, withDirectory } from '../testing/run-onnx.fixture.ts';
import { placeTensors } from './place-tensors.ts';
import type { StoredGroup, StoredTensor } from './store-matrix.ts';

const bytes = (name: string, count: number): StoredTensor => ({ name, dtype: 'u8', dims: [count] });
const outside = { file: 'm.onnx', inlineBytes: 0, chunkBytes: 1000 };

describe('placeTensors', () => {
  it('fills files in order, never cuts a tensor, and gives one that is too large a file of its own', () => {
    const { places, files, isInline, dataBytes } = placeTensors(
      [bytes('a', 600), bytes('b', 300), bytes('c', 60), bytes('d', 5000), bytes('e', 1)],
      outside,
    );
    expect(isInline).toBe(false);
    expect(dataBytes).toBe(5961);
    expect(Object.fromEntries([...places].map(([name, { file, offset }]) => [name, [file, offset]]))).toEqual({
      a: ['m.onnx_data', 0],
      b: ['m.onnx_data', 640],
      c: ['m.onnx_data_1', 0],
      d: ['m.onnx_data_2', 0],
      e: ['m.onnx_data_3', 0],
    });
    expect(files).toEqual([
      { name: 'm.onnx_data', byteLength: 940 },
      { name: 'm.onnx_data_1', byteLength: 60 },
      { name: 'm.onnx_data_2', byteLength: 5000 },
      { name: 'm.onnx_data_3', byteLength: 1 },
    ]);
  });

  it('keeps small models in one file, begins large tensors at a page, counts past 4 GiB', () => {
    expect(placeTensors([bytes('a', 10)], { ...outside, inlineBytes: 10 })).toMatchObject({
      isInline: true,
      files: [],
    });
    const { places } = placeTensors([bytes('a', 2 ** 33 + 1), bytes('b', 5), bytes('c', 2 ** 20)], {
      ...outside,
      chunkBytes: 2 ** 40,
    });
    expect(places.get('b')!.offset).toBe(2 ** 33 + 64);
    expect(places.get('c')!.offset).toBe(2 ** 33 + 4096);
  });

  it('refuses more files than transformers.js reads', () => {
    const many = Array.from({ length: 101 }, (_, i) => bytes(`t${i}`, 900));
    expect(() => placeTensors(many, outside)).toThrow(/at most 100 files/);
  });
});

const group = (name: string, length: number, chunks: readonly [number, Uint8Array][]): StoredGroup => ({
  source: name,
  tensors: [bytes(name, length)],
  async *chunks() {
    for (const [offset, part] of chunks) yield await Promise.resolve({ name, offset, bytes: part });
  },
});

describe('writeOnnx', () => {
  it('refuses tensors that are made with other bytes than their shape has', async () => {
    for (const chunks of [[[0, Uint8Array.of(1)]], [[2, Uint8Array.of(1, 2)]]] as [number, Uint8Array][][]) {
      const groups = [group('a', 3, chunks)];
      const places = placeTensors([bytes('a', 3)], outside);
      const output = { file: 'm.onnx', builder: new OnnxModelBuilder('x'), groups, places };
      await withDirectory(async (directory) => {
        await expect(writeOnnx(directory, output)).rejects.toMatchObject({ code: 'ONNX_TENSOR_BYTES' });
      });
    }
  });

  it.skipIf(!existsSync('/dev/full'))('says that the disk is full', async () => {
    const groups = [group('a', 1, [[0, Uint8Array.of(1)]])];
    const places = placeTensors([bytes('a', 1)], outside);
    const output = { file: 'm.onnx', builder: new OnnxModelBuilder('x'), groups, places };
    await withDirectory(async (directory) => {
      await symlink('/dev/full', join(directory, 'm.onnx'));
      await expect(writeOnnx(directory, output)).rejects.toMatchObject({ code: 'OUTPUT_DISK_FULL' });
    });
  });

  it('stops between two chunks', async () => {
    const groups = [group('a', 1, [[0, Uint8Array.of(1)]])];
    const output = {
      file: 'm.onnx',
      builder: new OnnxModelBuilder('x'),
      groups,
      places: placeTensors([bytes('a', 1)], outside),
    };
    await withDirectory(async (directory) => {
      await expect(writeOnnx(directory, output, { signal: AbortSignal.abort() })).rejects.toMatchObject({
        code: 'STOPPED',
      });
    });
  });

  it.skipIf(!hasRuntime('onnxruntime-node'))('ONNX Runtime reads a tensor behind 4 GiB', async () => {
    // A hole of zeros stands for the tensors before it, so that nothing of it takes room on the disk.
    const far = 2 ** 32 + 4096;
    const builder = new OnnxModelBuilder('far');
    builder.input('x', 'u8', [3]);
    builder.stored('far', 'u8', [3]);
    builder.node('BitwiseXor', ['x', 'far'], { outputs: ['y'] });
    builder.output('y', 'u8', [3]);
    const { places } = placeTensors([bytes('hole', 2 ** 32 + 1), bytes('far', 3)], { ...outside, chunkBytes: 2 ** 40 });
    await withDirectory(async (directory) => {
      const placed = { isInline: false, places, files: [], dataBytes: far };
      const groups = [
        group('far', 3, [
          [1, Uint8Array.of(5, 6)],
          [0, Uint8Array.of(4)],
        ]),
      ];
      await writeOnnx(directory, { file: 'm.onnx', builder, groups, places: placed });
      const data = await open(`${directory}/m.onnx_data`);
      expect((await data.stat()).size).toBeGreaterThan(2 ** 32);
      await data.close();
      const feeds = { x: { type: 'uint8', dims: [3], data: Uint8Array.of(1, 1, 1) } };
      expect([...runOnnx(`${directory}/m.onnx`, [feeds]).results[0]['y'].data]).toEqual([5, 4, 7]);
    });
  });
});

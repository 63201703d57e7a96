import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OnnxModelBuilder } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeInspection } from '../cli/commands/inspect.ts';
import { exportModel } from '../export/export-model.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { inspect } from './inspect.ts';

let root: string;
const at = (...names: string[]): string => join(root, ...names);
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'pith-inspect-onnx-'));
  writeSyntheticModel(at('model'), { layers: 1, hidden: 64, feedForward: 128, vocabulary: 96 });
  await exportModel(at('model'), { format: 'onnx', output: at('f32') });
  await exportModel(at('model'), { format: 'onnx:q4', output: at('q4'), shardBytes: 8_000 });
  await exportModel(at('model'), { format: 'onnx:int8', output: at('int8') });
});
afterAll(() => rmSync(root, { recursive: true }));

// By hand: two embeddings of 96 x 64; q and o 64 x 64, k and v 32 x 64; three of 128 x 64; three norms of 64.
const PARAMETERS = 2 * 96 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64 + 3 * 64;
/** Constants of the nodes: scalars of f32, frequencies. */
const CONSTANTS = 40;

describe('an export', () => {
  it('f32: parameters, sizes, operator sets, inputs and outputs', async () => {
    const found = await inspect(at('f32'));
    expect(found).toMatchObject({ architecture: 'llama', supported: true, quantization: null });
    expect(found.parameters).toBeGreaterThanOrEqual(PARAMETERS);
    expect(found.parameters).toBeLessThan(PARAMETERS + CONSTANTS);
    expect(found.model).toMatchObject({ layers: 1, hiddenSize: 64 });
    const [model] = found.onnx!;
    expect(model).toMatchObject({
      file: 'onnx/model.onnx',
      irVersion: 10,
      opsets: { 'ai.onnx': 21 },
      producer: 'pith',
    });
    expect(model!.bytes).toBe(statSync(at('f32/onnx/model.onnx')).size);
    expect(model!.inputs[0]).toEqual({ name: 'input_ids', dtype: 'i64', shape: ['batch_size', 'sequence_length'] });
    expect(model!.outputs[0]).toEqual({ name: 'logits', dtype: 'f32', shape: ['batch_size', 'sequence_length', 96] });
    expect(model!.quantized).toEqual([]);
    // Seven linears and a head, two products of attention.
    expect(model!.operators['MatMul']).toBe(10);
    const text = describeInspection(found);
    expect(text).toContain('IR 10, operator sets ai.onnx 21, written by pith');
    expect(text).toContain('input_ids i64 [batch_size, sequence_length]');
  });

  it('q4 in several files: codes count what they stand for, quantized nodes by kind', async () => {
    const found = await inspect(at('q4'));
    expect(found.parameters).toBeGreaterThanOrEqual(PARAMETERS);
    expect(found.parameters).toBeLessThan(PARAMETERS + CONSTANTS);
    const [model] = found.onnx!;
    expect(model!.quantized).toEqual([
      { operator: 'com.microsoft:MatMulNBits', bits: 4, blockSize: 32, nodes: 7 },
      { operator: 'com.microsoft:MatMulNBits', bits: 8, blockSize: 64, nodes: 1 },
    ]);
    const files = readdirSync(at('q4/onnx'));
    expect(model!.tensorFiles).toHaveLength(files.length - 1);
    expect(found.bytes).toBe(files.reduce((sum, name) => sum + statSync(at('q4/onnx', name)).size, 0));
    expect(found.quantization).toBe(
      'ONNX MatMulNBits (4 bits, blocks of 32, 7 nodes); MatMulNBits (8 bits, blocks of 64, 1 node)',
    );
    expect(describeInspection(found)).toContain('MatMulNBits (4 bits, blocks of 32, 7 nodes)');
  });

  it('int8, by the path of the file: the config is found beside its folder', async () => {
    const found = await inspect(at('int8/onnx/model_int8.onnx'));
    expect(found.architecture).toBe('llama');
    expect(found.onnx![0]).toMatchObject({
      file: 'model_int8.onnx',
      quantized: expect.arrayContaining([
        // Seven linears, and the head, which is not tied.
        { operator: 'MatMulInteger', bits: 8, blockSize: null, nodes: 8 },
      ]) as unknown,
    });
  });

  it('several models of one directory, and one without a config', async () => {
    mkdirSync(at('bare'));
    copyFileSync(at('f32/onnx/model.onnx'), at('bare/a.onnx'));
    copyFileSync(at('int8/onnx/model_int8.onnx'), at('bare/b.onnx'));
    const found = await inspect(at('bare'));
    expect(found).toMatchObject({ architecture: 'unknown', supported: false, model: null });
    expect(found.onnx!.map(({ file }) => file)).toEqual(['a.onnx', 'b.onnx']);
    expect(found.bytes).toBe(statSync(at('bare/a.onnx')).size + statSync(at('bare/b.onnx')).size);
  });
});

describe('what is refused', () => {
  const copy = (name: string): string => {
    const to = at(name);
    cpSync(at('q4'), to, { recursive: true });
    return to;
  };
  const code = (place: string) =>
    inspect(place).then(
      () => 'nothing was thrown',
      (error: unknown) => (error as { code: string }).code,
    );

  it('a file of tensors that is missing, or ends too soon, or lies elsewhere', async () => {
    const missing = copy('missing');
    rmSync(join(missing, 'onnx/model_q4.onnx_data_1'));
    expect(await code(missing)).toBe('CHECKPOINT_FILE_MISSING');
    const short = copy('short');
    truncateSync(join(short, 'onnx/model_q4.onnx_data'), 100);
    expect(await code(short)).toBe('ONNX_EXTERNAL_RANGE');
    const link = copy('link');
    rmSync(join(link, 'onnx/model_q4.onnx_data'));
    symlinkSync(at('q4/onnx/model_q4.onnx_data'), join(link, 'onnx/model_q4.onnx_data'));
    expect(await code(link)).toBe('CHECKPOINT_LINK_LEAVES');
  });

  it('a path above the directory, and a file that is no model', async () => {
    const builder = new OnnxModelBuilder('m');
    builder.stored('w', 'f32', [2]);
    mkdirSync(at('path'));
    writeFileSync(
      at('path/m.onnx'),
      builder.toBytes(() => ({ file: '../secret', offset: 0, byteLength: 8 })),
    );
    expect(await code(at('path/m.onnx'))).toBe('ONNX_EXTERNAL_PATH');
    writeFileSync(at('path/m.onnx'), 'a text');
    expect(await code(at('path'))).toBe('ONNX_MALFORMED');
    truncateSync(at('path/m.onnx'), 2 ** 31);
    expect(await code(at('path'))).toBe('ONNX_TOO_LARGE');
  });

  it('a config that is none', async () => {
    const broken = copy('broken');
    writeFileSync(join(broken, 'config.json'), '{');
    expect(await code(broken)).toMatch(/^CONFIG_/);
  });
});

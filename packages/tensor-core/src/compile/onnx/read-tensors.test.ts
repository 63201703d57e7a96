// ONNX files of strangers: one test for each way to be bad, and seeded mutations of good ones.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { randomStream } from '../../random/random-stream.ts';
import { isPithError } from '../../errors/pith-error.ts';
import { OnnxModelBuilder } from './model-builder.ts';
import type { ModelProto } from './onnx_pb.ts';
import { ModelProtoSchema, TensorProtoSchema } from './onnx_pb.ts';
import { ONNX_LIMITS, readOnnxTensors } from './read-tensors.ts';

function good(): Uint8Array {
  const builder = new OnnxModelBuilder('good');
  builder.input('x', 'f32', ['batch', 4]);
  builder.stored('far', 'f16', [4, 2]);
  builder.stored('near', 'u8', [3]);
  const product = builder.op('MatMul', ['x', 'far']);
  builder.node('Thing', [product, 'near', builder.float(2)], { domain: 'com.microsoft', outputs: ['y'] });
  builder.output('y', 'f32', ['batch', 2]);
  return builder.toBytes((name) =>
    name === 'far' ? { file: 'data/m.onnx_data', offset: 2 ** 40, byteLength: 16 } : Uint8Array.of(1, 2, 3),
  );
}

/** A good model with something changed. */
function changed(change: (model: ModelProto) => void): Uint8Array {
  const model = fromBinary(ModelProtoSchema, good());
  change(model);
  return toBinary(ModelProtoSchema, model);
}

const code = (bytes: Uint8Array): string => {
  try {
    readOnnxTensors(bytes, 'm.onnx');
  } catch (error) {
    if (!isPithError(error)) throw error;
    expect(error.message).toContain('read m.onnx');
    return error.code;
  }
  return 'nothing was thrown';
};

const external = (key: string, value: string | undefined) =>
  changed((model) => {
    const tensor = model.graph!.initializer[0]!;
    tensor.externalData = tensor.externalData.filter((entry) => entry.key !== key);
    if (value !== undefined) tensor.externalData.push({ $typeName: 'onnx.StringStringEntryProto', key, value });
  });

it('reads what a model holds', () => {
  expect(readOnnxTensors(good(), 'm.onnx')).toEqual({
    inputs: [{ name: 'x', dtype: 'f32', shape: ['batch', 4] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['batch', 2] }],
    tensors: [
      { name: 'far', dtype: 'f16', shape: [4, 2], byteLength: 16, file: 'data/m.onnx_data', offset: 2 ** 40 },
      { name: 'near', dtype: 'u8', shape: [3], byteLength: 3, file: null, offset: 0 },
      { name: 'constant', dtype: 'f32', shape: [], byteLength: 4, file: null, offset: 0 },
    ],
    operators: { MatMul: 1, 'com.microsoft:Thing': 1 },
    quantized: [],
    irVersion: 10,
    opsets: { 'ai.onnx': 21, 'com.microsoft': 1 },
    producer: 'pith',
  });
});

/** A model with a node of each of two kinds. */
function withQuantizedNodes(attributes: Readonly<Record<string, number>>): Uint8Array {
  const builder = new OnnxModelBuilder('quantized');
  builder.input('x', 'f32', ['batch', 64]);
  builder.stored('w_Q4', 'u8', [8, 2, 16]);
  builder.stored('w_scales', 'f32', [16]);
  builder.stored('codes', 'i8', [8, 3]);
  const block = builder.op('MatMulNBits', ['x', 'w_Q4', 'w_scales'], {
    domain: 'com.microsoft',
    attributes: Object.fromEntries(Object.entries(attributes).map(([name, int]) => [name, { int }])),
  });
  const restored = builder.op('DequantizeLinear', ['codes', builder.float(0.5)]);
  builder.node('MatMul', [block, restored], { outputs: ['y'] });
  builder.output('y', 'f32', ['batch', 3]);
  const sizes: Record<string, number> = { w_Q4: 256, w_scales: 64, codes: 24 };
  return builder.toBytes((name) => new Uint8Array(sizes[name]!));
}

it('names nodes that round or restore, with their codes, bits and blocks', () => {
  const { quantized } = readOnnxTensors(withQuantizedNodes({ K: 64, N: 8, bits: 4, block_size: 32 }), 'm.onnx');
  expect(quantized).toEqual([
    {
      operator: 'com.microsoft:MatMulNBits',
      codes: 'w_Q4',
      scales: 'w_scales',
      zeroPoints: '',
      bits: 4,
      blockSize: 32,
      shape: [8, 64],
    },
    {
      operator: 'DequantizeLinear',
      codes: 'codes',
      scales: 'constant',
      zeroPoints: '',
      bits: null,
      blockSize: null,
      shape: null,
    },
  ]);
});

describe('what is refused', () => {
  const tensor = (change: (proto: NonNullable<ModelProto['graph']>['initializer'][number]) => void) =>
    changed((model) => change(model.graph!.initializer[1]!));

  it.each([
    ['bytes that are no message', () => Uint8Array.of(255, 255, 255), 'ONNX_MALFORMED'],
    ['a message without a graph', () => new Uint8Array(), 'ONNX_MALFORMED'],
    ['a file cut short', () => good().subarray(0, -5), 'ONNX_MALFORMED'],
    ['more bytes than protobuf has', () => ({ length: ONNX_LIMITS.bytes + 1 }) as Uint8Array, 'ONNX_TOO_LARGE'],
    ['a tensor without a name', () => tensor((proto) => (proto.name = '')), 'ONNX_NAME'],
    ['a name that is too long', () => tensor((proto) => (proto.name = 'n'.repeat(5000))), 'ONNX_NAME'],
    ['two tensors of one name', () => tensor((proto) => (proto.name = 'far')), 'ONNX_NAME'],
    ['strings as elements', () => tensor((proto) => (proto.dataType = 8)), 'ONNX_TYPE'],
    ['an unknown type', () => tensor((proto) => (proto.dataType = 99)), 'ONNX_TYPE'],
    ['a negative axis', () => tensor((proto) => (proto.dims = [-3n])), 'ONNX_SHAPE'],
    ['a product past 2^53', () => tensor((proto) => (proto.dims = [2n ** 32n, 2n ** 32n])), 'ONNX_SHAPE'],
    ['an axis past 2^53', () => tensor((proto) => (proto.dims = [2n ** 62n])), 'ONNX_SHAPE'],
    ['too many axes', () => tensor((proto) => (proto.dims = Array.from({ length: 17 }, () => 1n))), 'ONNX_SHAPE'],
    ['fewer bytes than the shape has', () => tensor((proto) => (proto.dims = [4n])), 'ONNX_TENSOR_BYTES'],
    ['an input that is no tensor', () => changed((model) => delete model.graph!.input[0]!.type), 'ONNX_TYPE'],
    ['no file', () => external('location', undefined), 'ONNX_EXTERNAL_PATH'],
    ['a file above the directory', () => external('location', '../secret'), 'ONNX_EXTERNAL_PATH'],
    ['a way out and in', () => external('location', 'a/../../b'), 'ONNX_EXTERNAL_PATH'],
    ['an absolute file', () => external('location', '/etc/passwd'), 'ONNX_EXTERNAL_PATH'],
    ['a drive', () => external('location', 'C:data'), 'ONNX_EXTERNAL_PATH'],
    ['a backslash', () => external('location', '..\\data'), 'ONNX_EXTERNAL_PATH'],
    ['a negative offset', () => external('offset', '-4'), 'ONNX_EXTERNAL_RANGE'],
    ['an offset past 2^53', () => external('offset', '9999999999999999'), 'ONNX_EXTERNAL_RANGE'],
    ['an offset in words', () => external('offset', '0x10'), 'ONNX_EXTERNAL_RANGE'],
    ['another length than the shape has', () => external('length', '15'), 'ONNX_EXTERNAL_RANGE'],
    ['an operator set of version 0', () => changed((model) => (model.opsetImport[0]!.version = 0n)), 'ONNX_OPSET'],
    ['two versions of a set', () => changed((model) => model.opsetImport.push(model.opsetImport[0]!)), 'ONNX_OPSET'],
    ['an operator without a name', () => changed((model) => (model.graph!.node[0]!.opType = '')), 'ONNX_NAME'],
    ['negative rows', () => withQuantizedNodes({ K: 64, N: -8, bits: 4, block_size: 32 }), 'ONNX_ATTRIBUTE'],
    ['codes of 999 bits', () => withQuantizedNodes({ K: 64, N: 8, bits: 999, block_size: 32 }), 'ONNX_ATTRIBUTE'],
  ])('%s', (_, bytes, expected) => expect(code(bytes())).toBe(expected));

  it('more tensors than the cap', () => {
    const many = Array.from({ length: ONNX_LIMITS.count + 1 }, () => create(TensorProtoSchema));
    expect(code(changed((model) => (model.graph!.initializer = many)))).toBe('ONNX_TOO_MANY');
  });
});

it('3,000 mutations of two models end in its contents or in an error of ours', () => {
  const random = randomStream(7, 'onnx mutations');
  const seeds = [good(), withQuantizedNodes({ K: 64, N: 8, bits: 4, block_size: 32 })];
  const below = (n: number): number => Math.floor(random.uniform() * n);
  const outcomes = new Set<string>();
  for (let round = 0; round < 3000; round++) {
    let bytes = seeds[round % 2]!.slice();
    for (let changes = 1 + below(4); changes > 0; changes--) {
      const at = below(bytes.length);
      const kind = below(3);
      if (kind === 0) bytes[at] = below(256);
      else if (kind === 1) bytes[at]! ^= 1 << below(8);
      else bytes = bytes.slice(0, at + 1);
    }
    outcomes.add(code(bytes));
  }
  expect(outcomes.size).toBeGreaterThan(3);
});

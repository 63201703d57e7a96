// Models written node by node, read back.
import { expect, test } from 'vitest';
import { exportBytes, OnnxModelBuilder } from './model-builder.ts';
import { readModel } from './read-model.ts';

function example(): OnnxModelBuilder {
  const builder = new OnnxModelBuilder('example');
  builder.input('x', 'f32', ['batch', 4]);
  builder.stored('w', 'f16', [4, 2]);
  builder.stored('small', 'i8', [3]);
  const wide = builder.op('Cast', ['w'], { attributes: { to: { int: 1 } } });
  const product = builder.op('MatMul', ['x', wide], { path: 'layer' });
  builder.node('MatMulNBits', [product, undefined, builder.ints([1, 2])], {
    domain: 'com.microsoft',
    outputs: ['y'],
    attributes: { bits: { int: 4 } },
  });
  builder.output('y', 'f32', ['batch', 2]);
  return builder;
}

const place = (name: string) =>
  name === 'w' ? { file: 'm.onnx_data_1', offset: 2 ** 33 + 64, byteLength: 16 } : Uint8Array.of(1, 2, 3);

test('named axes, 64-bit offsets of external tensors, tensors inside the model, metadata', () => {
  const model = readModel(example().toBytes(place, { format: 'q4' }));
  const { input, initializer, node } = model.graph!;
  expect(model.opsetImport.map(({ domain }) => domain)).toEqual(['', 'com.microsoft']);
  expect(model.metadataProps.map(({ key, value }) => [key, value])).toEqual([['format', 'q4']]);
  const dims = input[0]!.type!.value.value!.shape!.dim.map(({ value }) => value.value);
  expect(dims).toEqual(['batch', 4n]);
  const [w, small, ints] = initializer;
  expect([w!.dataType, w!.dims, w!.dataLocation]).toEqual([10, [4n, 2n], 1]);
  expect(w!.externalData.map(({ key, value }) => [key, value])).toEqual([
    ['location', 'm.onnx_data_1'],
    ['offset', '8589934656'],
    ['length', '16'],
  ]);
  expect([small!.dataType, [...small!.rawData]]).toEqual([3, [1, 2, 3]]);
  expect(ints!.dataType).toBe(7);
  expect(node.map(({ output }) => output)).toEqual([['Cast'], ['layer/MatMul'], ['y']]);
  expect(node[2]!.input).toEqual(['layer/MatMul', '', 'constant']);
});

test('equal nodes and constants are written once, the bytes are the same each time', () => {
  const builder = new OnnxModelBuilder('twins');
  expect(builder.op('Neg', ['x'])).toBe(builder.op('Neg', ['x']));
  expect(builder.op('Neg', ['x'])).not.toBe(builder.op('Neg', ['y']));
  expect(builder.op('A', ['x'], { attributes: { a: { int: 1 } } })).not.toBe(
    builder.op('A', ['x'], { attributes: { a: { int: 2 } } }),
  );
  expect(builder.float(-0)).not.toBe(builder.float(0));
  expect(builder.ints([1, 2])).toBe(builder.ints([1, 2]));
  expect(builder.has('Neg')).toBe(true);
  expect(builder.has('Abs')).toBe(false);
  expect(example().toBytes(place)).toEqual(example().toBytes(place));
});

test('bytes of stored tensors', () => {
  expect(exportBytes('f16', [3, 5])).toBe(30);
  expect(exportBytes('i64', [])).toBe(8);
  expect(exportBytes('u8', [70_000, 70_000])).toBe(4_900_000_000);
});

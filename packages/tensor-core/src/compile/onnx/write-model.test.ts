// Models as written, read back; and what their readers refuse.
import { create, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { OnnxGraph } from '../graph.ts';
import { ModelProtoSchema } from './onnx_pb.ts';
import { OPSET } from './onnx-types.ts';
import { readModel, readModelInterface } from './read-model.ts';
import { MAX_CONSTANT_BYTES, writeModel } from './write-model.ts';

const type = { dtype: 'f32', shape: [2, 3] } as const;

function example(): OnnxGraph {
  const graph = new OnnxGraph('example');
  const x = graph.input('x', 'f32', [2, 3]);
  graph.input('flag', 'bool', []);
  const bias = graph.constant('f32', [3], Float32Array.of(1, -0, 0.5));
  const sum = graph.op('Add', [x, bias], type);
  const clipped = graph.op('Clip', [sum, undefined, graph.scalar('f32', 4)], type);
  const product = graph.op(
    'FusedMatMul',
    [clipped, clipped],
    { dtype: 'f32', shape: [2, 2] },
    {
      transB: { int: 1 },
      alpha: { float: 0.5 },
    },
    'com.microsoft',
  );
  graph.output('y', product);
  graph.output('again', product);
  return graph;
}

test('nodes, attributes, constants and the interface survive', () => {
  const bytes = writeModel(example());
  const model = readModel(bytes);
  expect(model.opsetImport.map(({ domain, version }) => [domain, Number(version)])).toEqual([
    ['', OPSET],
    ['com.microsoft', 1],
  ]);
  const { node, initializer } = model.graph!;
  expect(node.map(({ opType }) => opType)).toEqual(['Add', 'Clip', 'FusedMatMul', 'Identity']);
  expect(node[1]!.input[1]).toBe('');
  expect(node[2]!.attribute.map(({ name, type: kind, i, f }) => [name, kind, Number(i), f])).toEqual([
    ['transB', 2, 1, 0],
    ['alpha', 1, 0, 0.5],
  ]);
  expect(initializer.map(({ dims, dataType }) => [dims.map(Number), dataType])).toEqual([
    [[3], 1],
    [[], 1],
  ]);
  const floats = new Float32Array(initializer[0]!.rawData.slice().buffer);
  expect(Object.is(floats[1], -0)).toBe(true);
  expect(readModelInterface(bytes)).toEqual({
    name: 'example',
    inputs: new Map([
      ['x', { dtype: 'f32', shape: [2, 3] }],
      ['flag', { dtype: 'bool', shape: [] }],
    ]),
    outputs: new Map([
      ['y', { dtype: 'f32', shape: [2, 2] }],
      ['again', { dtype: 'f32', shape: [2, 2] }],
    ]),
  });
});

test('the same graph gives the same bytes', () => {
  expect(writeModel(example())).toEqual(writeModel(example()));
});

test('generated names keep clear of given ones', () => {
  const graph = new OnnxGraph('names');
  const x = graph.input('v1', 'f32', [2, 3]);
  graph.output('v2', graph.op('Neg', [graph.op('Exp', [x], type)], type));
  const { node } = readModel(writeModel(graph)).graph!;
  const names = ['v1', ...node.flatMap(({ output }) => output)];
  expect(new Set(names).size).toBe(names.length);
  expect(node.at(-1)!.output).toEqual(['v2']);
});

test('large constants of one value are written as that value', () => {
  const graph = new OnnxGraph('splat');
  graph.output('y', graph.constant('f32', [1024, 1024], new Float32Array(2 ** 20).fill(3)));
  expect(graph.stats().constantBytes).toBe(4);
  expect(writeModel(graph).length).toBeLessThan(1000);
});

test('attributes that differ only in kind or in the sign of zero or infinity keep operations apart', () => {
  const graph = new OnnxGraph('attributes');
  const x = graph.input('x', 'f32', [2, 3]);
  const results = [{ float: 0 }, { float: -0 }, { int: 0 }, { float: Infinity }, { float: -Infinity }].map((a) =>
    graph.op('Elu', [x], type, { alpha: a }),
  );
  expect(new Set(results).size).toBe(5);
  expect(graph.op('Elu', [x], type, { alpha: { float: Infinity } })).toBe(results[3]);
});

test('constants beyond the limit of the format are refused before they are written', () => {
  const graph = new OnnxGraph('large');
  // Two values that differ, so that the constant is not kept as one.
  const huge = { length: MAX_CONSTANT_BYTES / 4 + 1 };
  const constant = graph.constant('f32', [2], Float32Array.of(1, 2));
  graph.output('y', { ...constant, shape: [huge.length], data: huge as Float32Array });
  expect(() => writeModel(graph)).toThrow(/"large": constants must stay under/);
});

test('other models: no graph, symbolic shapes, dtypes without a host array', () => {
  const withInput = (elemType: number, dim: object): Uint8Array =>
    toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, {
        graph: {
          name: 'other',
          input: [{ name: 'x', type: { value: { case: 'tensorType', value: { elemType, shape: { dim: [dim] } } } } }],
        },
      }),
    );
  const fixed = { value: { case: 'dimValue', value: 3n } };
  expect(readModelInterface(withInput(1, fixed)).inputs.get('x')).toEqual({ dtype: 'f32', shape: [3] });
  expect(() => readModelInterface(withInput(1, { value: { case: 'dimParam', value: 'batch' } }))).toThrow(
    /"x" has no static/,
  );
  expect(() => readModelInterface(withInput(10, fixed))).toThrow(/"x" has the element type 10/);
  expect(() => readModel(toBinary(ModelProtoSchema, create(ModelProtoSchema, {})))).toThrow(/must have a graph/);
});

// The nodes of a linear layer for each way of storing its matrix. Inputs and outputs are f32; products of an f16 model are
// computed in f16.
import type { ActivationQuantization, OnnxModelBuilder } from '@pith/tensor-core';
import type { BlockStorage, ChannelStorage, MatrixStorage } from './matrix-storage.ts';
import { codeNames } from './store-matrix.ts';

const MICROSOFT = 'com.microsoft';
const TYPE = { f32: 1, i8: 3, i32: 6, bool: 9, f16: 10, bf16: 16 } as const;

/** A matrix as the nodes know it; its tensors are declared by whoever stores them. */
export interface WrittenMatrix {
  /** Begins the names of its tensors and nodes. */
  readonly name: string;
  /** [out, in]. */
  readonly shape: readonly [number, number];
  /** How it is stored. */
  readonly storage: MatrixStorage;
  /** True where values of a `float` storage lie as [out, in]: a matrix that is an embedding as well. */
  readonly isTable: boolean;
  /** Columns in the order of their groups; absent where they are in that order. */
  readonly order?: Int32Array;
  /** Accuracy level of MatMulNBits: 0 as the runtime likes, 1 f32, 4 inputs rounded to 8 bits. */
  readonly accuracyLevel: number;
}

/**
 * Writes `x W^T`.
 *
 * @param x Name of the input, f32 [..., in].
 * @returns Name of the product, f32 [..., out].
 */
export function writeProduct(builder: OnnxModelBuilder, x: string, matrix: WrittenMatrix): string {
  const { storage, name, order } = matrix;
  const input =
    order === undefined
      ? x
      : builder.op('Gather', [x, builder.constant('i32', [order.length], order)], {
          attributes: { axis: { int: -1 } },
        });
  if (storage.kind === 'blocks') return blockProduct(builder, input, matrix, storage);
  if (storage.kind === 'channels') return channelProduct(builder, input, name, storage);
  return halfOrSingle(builder, input, storage.dtype, (operand) =>
    matrix.isTable ? tableProduct(builder, operand, matrix) : builder.op('MatMul', [operand, name], { path: name }),
  );
}

/** Runs a product in f16 where the storage says so. */
function halfOrSingle(
  builder: OnnxModelBuilder,
  x: string,
  dtype: 'f32' | 'f16',
  product: (operand: string) => string,
): string {
  if (dtype === 'f32') return product(x);
  return castTo(builder, product(castTo(builder, x, 'f16')), 'f32');
}

/** Another dtype. */
export function castTo(builder: OnnxModelBuilder, x: string, dtype: keyof typeof TYPE): string {
  return builder.op('Cast', [x], { attributes: { to: { int: TYPE[dtype] } } });
}

// Gemm reads a matrix the other way round, and takes matrices only.
function tableProduct(builder: OnnxModelBuilder, x: string, { name, shape }: WrittenMatrix): string {
  const [out, features] = shape;
  const rows = builder.op('Reshape', [x, builder.ints([-1, features])]);
  const product = builder.op('Gemm', [rows, name], { attributes: { transB: { int: 1 } }, path: name });
  const lead = builder.op('Shape', [x], { attributes: { start: { int: 0 }, end: { int: -1 } } });
  const target = builder.op('Concat', [lead, builder.ints([out])], { attributes: { axis: { int: 0 } } });
  return builder.op('Reshape', [product, target]);
}

function blockProduct(builder: OnnxModelBuilder, x: string, matrix: WrittenMatrix, storage: BlockStorage): string {
  const { bits, blockSize, symmetric, scaleDType } = storage;
  const { codes, scales, zeroPoints } = codeNames(matrix.name, bits);
  const [out, features] = matrix.shape;
  return halfOrSingle(builder, x, scaleDType, (operand) =>
    builder.op('MatMulNBits', [operand, codes, scales, symmetric ? undefined : zeroPoints], {
      domain: MICROSOFT,
      path: matrix.name,
      attributes: {
        K: { int: features },
        N: { int: out },
        bits: { int: bits },
        block_size: { int: blockSize },
        ...(matrix.accuracyLevel !== 0 && { accuracy_level: { int: matrix.accuracyLevel } }),
      },
    }),
  );
}

/** Whether the codes of a matrix are stored from 0 on: integer products of unsigned codes never saturate on any processor. */
export function isUnsigned({ activations }: ChannelStorage): boolean {
  return activations === 'tensor-dynamic';
}

function channelProduct(builder: OnnxModelBuilder, x: string, name: string, storage: ChannelStorage): string {
  const { activations, symmetric } = storage;
  const { codes, scales, zeroPoints } = codeNames(name, 8);
  const zeros = symmetric && !isUnsigned(storage) ? undefined : zeroPoints;
  const restored = (): string =>
    builder.op('DequantizeLinear', [codes, scales, zeros], { attributes: { axis: { int: 1 } }, path: name });
  if (activations === 'none') return builder.op('MatMul', [x, restored()], { path: name });
  if (activations !== 'tensor-dynamic' && activations.dtype !== 'i8') {
    // Floats of 8 bits have no integer product: the inputs stay as they are.
    return builder.op('MatMul', [x, restored()], { path: name });
  }
  if (activations === 'tensor-dynamic') {
    const [quantized, scale, zero] = dynamicInput(builder, x);
    const product = builder.op('MatMulInteger', [quantized, codes, zero, zeros], { path: name });
    const both = builder.op('Mul', [scale, scales]);
    return builder.op('Mul', [castTo(builder, product, 'f32'), both]);
  }
  if (activations.kind === 'tensor-static') {
    const rounded = staticInput(builder, x, activations);
    return builder.op('MatMul', [rounded, restored()], { path: name });
  }
  const { quantized, scale, zero } = tokenInput(builder, x, activations.symmetric);
  if (zero !== undefined) {
    // Zero points differ by token: the inputs are restored before the product.
    const centred = builder.op('Sub', [quantized, zero]);
    return builder.op('MatMul', [builder.op('Mul', [centred, scale]), restored()], { path: name });
  }
  const product = builder.op('MatMulInteger', [castTo(builder, quantized, 'i8'), codes, undefined, zeros], {
    path: name,
  });
  // One factor after the other: of their product ONNX Runtime makes MatMulIntegerToFloat, which takes one scale for all tokens (seen
  // in 1.30 and 1.32 where a bias follows).
  return builder.op('Mul', [builder.op('Mul', [castTo(builder, product, 'f32'), scales]), scale]);
}

function dynamicInput(builder: OnnxModelBuilder, x: string): readonly [string, string, string] {
  const outputs = [`${x}/quantized`, `${x}/scale`, `${x}/zero_point`] as const;
  if (!builder.has(outputs[0])) builder.node('DynamicQuantizeLinear', [x], { outputs });
  return outputs;
}

function staticInput(
  builder: OnnxModelBuilder,
  x: string,
  { scale, zeroPoint }: Extract<ActivationQuantization, { kind: 'tensor-static' }>,
): string {
  const operands = [builder.float(scale), builder.constant('i8', [], Int8Array.of(zeroPoint))];
  return builder.op('DequantizeLinear', [builder.op('QuantizeLinear', [x, ...operands]), ...operands]);
}

/** Codes of each token as f32, as compressed-tensors rounds them: absmax / 127.5, or the range with zero in it / 255. */
function tokenInput(
  builder: OnnxModelBuilder,
  x: string,
  symmetric: boolean,
): { readonly quantized: string; readonly scale: string; readonly zero?: string } {
  const over = { attributes: { keepdims: { int: 1 } } };
  const last = builder.ints([-1]);
  const [low, high, epsilon] = [-128, 127, 2 ** -23].map((value) => builder.float(value));
  const positive = (scale: string): string => {
    const isPositive = builder.op('Greater', [scale, builder.float(0)]);
    return builder.op('Where', [isPositive, scale, epsilon]);
  };
  if (symmetric) {
    const largest = builder.op('ReduceMax', [builder.op('Abs', [x]), last], over);
    const scale = positive(builder.op('Div', [largest, builder.float(127.5)]));
    const clipped = builder.op('Clip', [builder.op('Div', [x, scale]), low, high]);
    return { quantized: builder.op('Round', [clipped]), scale };
  }
  const lowest = builder.op('Min', [builder.op('ReduceMin', [x, last], over), builder.float(0)]);
  const highest = builder.op('Max', [builder.op('ReduceMax', [x, last], over), builder.float(0)]);
  const scale = positive(builder.op('Div', [builder.op('Sub', [highest, lowest]), builder.float(255)]));
  const at = builder.op('Sub', [low, builder.op('Div', [lowest, scale])]);
  const zero = builder.op('Round', [builder.op('Clip', [at, low, high])]);
  const placed = builder.op('Add', [builder.op('Div', [x, scale]), zero]);
  return { quantized: builder.op('Round', [builder.op('Clip', [placed, low, high])]), scale, zero };
}

/**
 * Writes the rows of a table that ids choose.
 *
 * @returns Name of the rows, f32 [...ids, columns].
 */
export function writeLookup(builder: OnnxModelBuilder, ids: string, { name, shape, storage }: WrittenMatrix): string {
  if (storage.kind !== 'blocks') {
    const rows = builder.op('Gather', [name, ids], { path: name });
    return storage.kind === 'float' && storage.dtype === 'f16' ? castTo(builder, rows, 'f32') : rows;
  }
  const { codes, scales } = codeNames(name, storage.bits);
  const [rows, columns] = shape;
  const blocks = Math.ceil(columns / storage.blockSize);
  const table = builder.op('Reshape', [scales, builder.ints([rows, blocks, 1])]);
  const centred = builder.op('Sub', [castTo(builder, builder.op('Gather', [codes, ids]), 'f32'), builder.float(128)]);
  const scale = builder.op('Gather', [table, ids]);
  const values = builder.op('Mul', [centred, storage.scaleDType === 'f16' ? castTo(builder, scale, 'f32') : scale]);
  // [...ids, blocks, blockSize] to [...ids, blocks * blockSize].
  const joined = builder.op('Reshape', [values, builder.ints([0, 0, blocks * storage.blockSize])]);
  if (blocks * storage.blockSize === columns) return joined;
  const [from, to, axis] = [0, columns, -1].map((value) => builder.ints([value]));
  return builder.op('Slice', [joined, from, to, axis]);
}

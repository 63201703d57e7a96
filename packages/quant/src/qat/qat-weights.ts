// The weights of quantization-aware training: which are rounded, their step sizes, and what they become.
import type { LanguageModel } from '@pith/model';
import {
  factoredWeight,
  factorNames,
  fromF32,
  groupsPerRow,
  memoryBlock,
  quantizedWeight,
  roundHalfToEven,
  toF32,
  type DenseWeight,
  type HostTensor,
  type IntegerScheme,
  type KernelHost,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { requireRoundable } from '../pass/round-weight.ts';
import { quantizeWeight } from '../rtn/quantize-weight.ts';
import { fakeQuantize, LEAST_STEP, quantizeWithSteps, type FakeQuantization } from './fake-quantize.ts';
import type { RangeRule } from '../range/range.ts';
import type { Scheme } from '../scheme/scheme.ts';

/** One matrix that is rounded: a linear's weight, or a factor of it. */
export interface QatMatrix {
  /** Checkpoint name; of a factor by `factorNames`. */
  readonly name: string;
  /** How it is coded. */
  readonly scheme: IntegerScheme;
  /** Codes and groups. */
  readonly rounding: FakeQuantization;
  /** Step sizes at first, f32 [rows, groups]. */
  readonly start: HostTensor<'f32'>;
  /** Zero points, f32 [rows, groups]. */
  readonly zero: HostTensor<'f32'>;
}

/** Name of the trained factor of a matrix's step sizes. */
export const stepName = (name: string): string => `qat.step:${name}`;
const startName = (name: string): string => `qat.start:${name}`;
const zeroName = (name: string): string => `qat.zero:${name}`;

/** How the weight of a linear is coded. */
export interface CodedLinear {
  /** Checkpoint name of the weight. */
  readonly name: string;
  /** Integers per channel or group. */
  readonly scheme: Scheme;
}

/** Finds step sizes for these linears, by rounding to nearest. */
export async function qatMatrices(
  model: LanguageModel,
  linears: readonly CodedLinear[],
  range: RangeRule,
  host: KernelHost,
): Promise<QatMatrix[]> {
  const matrices: QatMatrix[] = [];
  for (const { name, scheme } of linears) {
    const coding = { scheme, range, host };
    const weight = requireRoundable(name, model.weights.get(name));
    if (weight.kind === 'dense') {
      matrices.push(await qatMatrix(name, weight, coding));
      continue;
    }
    const { left, right } = factorNames(name);
    matrices.push(await qatMatrix(right, weight.right, coding), await qatMatrix(left, weight.left, coding));
  }
  return matrices;
}

async function qatMatrix(
  name: string,
  before: DenseWeight,
  coding: { readonly scheme: Scheme; readonly range: RangeRule; readonly host: KernelHost },
): Promise<QatMatrix> {
  const { weight } = await quantizeWeight(before, coding);
  const coded = weight.scheme as IntegerScheme;
  const [rows, columns] = before.shape as [number, number];
  const groups = groupsPerRow(coded.granularity, columns);
  const { scales, zeroPoints } = await weight.block();
  const shape = [rows, groups];
  const half = 2 ** (coded.bits - 1);
  return {
    name,
    scheme: coded,
    rounding: { lowest: -half, highest: half - 1, groups },
    start: { dtype: 'f32', shape, data: Float32Array.from(scales) },
    zero: { dtype: 'f32', shape, data: zeroPoints ? Float32Array.from(zeroPoints) : new Float32Array(rows * groups) },
  };
}

/** Tensors that no step changes: first step sizes and zero points. */
export function qatConstants(matrices: readonly QatMatrix[]): Record<string, HostTensor<'f32'>> {
  return Object.fromEntries(
    matrices.flatMap(({ name, start, zero }) => [
      [startName(name), start],
      [zeroName(name), zero],
    ]),
  );
}

/** Factors of the step sizes, ones at first. */
export function qatSteps(matrices: readonly QatMatrix[]): Record<string, HostTensor<'f32'>> {
  return Object.fromEntries(
    matrices.map(({ name, start: { shape, data } }) => [
      stepName(name),
      { dtype: 'f32', shape, data: new Float32Array(data.length).fill(1) },
    ]),
  );
}

/** The weights as the quantized model has them: rounded ones in the place of those that are trained. */
export function roundedWeights(
  matrices: readonly QatMatrix[],
  tensors: Readonly<Record<string, Tensor>>,
): Record<string, Tensor> {
  const rounded = matrices.map(({ name, rounding }) => {
    const of = (key: string) => tensors[key] as Tensor2D;
    return [
      name,
      fakeQuantize(of(name), of(stepName(name)), of(startName(name)), of(zeroName(name)), rounding),
    ] as const;
  });
  return { ...tensors, ...Object.fromEntries(rounded) };
}

/**
 * Codes of a trained matrix. Step sizes are rounded to the dtype of the scales first, so that what is stored is what the
 * codes were made for.
 */
export function quantizeTrained(
  { name, scheme, rounding, start, zero }: QatMatrix,
  values: Float32Array,
  steps: Float32Array,
): QuantizedWeight {
  const [rows] = start.shape as [number];
  const columns = values.length / rows;
  const learnt = start.data.map((first, i) => first * Math.max(steps[i]!, LEAST_STEP));
  const scales = toF32(scheme.scaleDType, fromF32(scheme.scaleDType, learnt));
  const codes = quantizeWithSteps(values, scales, zero.data, rounding, roundHalfToEven);
  const block = { codes, scales, ...(!scheme.symmetric && { zeroPoints: Int8Array.from(zero.data) }) };
  const read = memoryBlock(block, scheme, rows, columns);
  return quantizedWeight({ name, shape: [rows, columns], scheme, read });
}

/** A linear's weight of its quantized parts: itself, or its right and left factor. */
export function joined(name: string, before: WeightTensor, parts: readonly QuantizedWeight[]): WeightTensor {
  if (before.kind !== 'factored') return parts[0]!;
  return factoredWeight({ name, right: parts[0]!, left: parts[1]! });
}

// Models that are quantized already: their codes are stored as they are, and ONNX Runtime computes what the format's own
// implementation does.
import { cpuDevice } from '@pith/tensor-core/node';
import { quantizedWeight } from '@pith/tensor-core';
import type { CodeBlock, IntegerScheme, QuantizedWeight } from '@pith/tensor-core';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type { LinearSpec } from '../architecture/architecture.ts';
import { causalStates } from '../architecture/causal-logits.ts';
import { linear } from '../architecture/ops/linear.ts';
import { logits } from '../evaluate/logits.ts';
import type { LanguageModel } from '../language-model.ts';
import { openModel } from '../node/open-model.ts';
import { folderModel } from '../testing/folder-model.fixture.ts';
import { readSafetensors } from '../testing/read-safetensors.fixture.ts';
import { runOnnx, withDirectory } from '../testing/run-onnx.fixture.ts';
import { buildOnnx } from './build-onnx.ts';
import type { OnnxOptions } from './model-tensors.ts';
import { decoderFeeds, distance, exportOnnx, PLAIN } from './run-model.fixture.ts';

// tfjs advertises its Node binding on the console otherwise.
tf.env().set('IS_TEST', true);

// f32 on both sides, in another order of the sums: as for the reference logits of golden/arch.
const TOLERANCE = 3e-5;

const idsOf = (folder: string): number[] =>
  Array.from(readSafetensors(`${folder}/reference.safetensors`).get('input_ids')!.data, Number);

/** Logits of an export whose embedding is stored as it is. */
async function exported(
  model: LanguageModel,
  ids: readonly number[],
  options: OnnxOptions,
  session: Readonly<Record<string, unknown>> = {},
): Promise<Float32Array> {
  return withDirectory(async (directory) => {
    const file = await exportOnnx(directory, model, { ...options, table: 'f32' });
    return runOnnx(file, [decoderFeeds(model, [ids])], session).results[0]['logits'].data;
  });
}

const cases: [string, OnnxOptions['weights'], string][] = [
  ['w4a16-g128-sym', 'q4', 'blocks'],
  ['w4a16-g128-asym', 'q4', 'blocks'],
  ['w4a16-g128-sym', 'int8', 'blocks'],
  ['w8a16-channel', 'q8', 'blocks'],
  ['w8a16-channel', 'int8', 'channels'],
  ['fp8-channel', 'f32', 'float'],
];

describe.skipIf(!hasShared || !hasRuntime('onnxruntime-node'))('codes of compressed-tensors', () => {
  it.each(cases)('%s as %s', async (name, weights, kind) => {
    const folder = shared(`golden/compressed-tensors/${name}/checkpoint`);
    const model = await openModel(folder);
    const options = { ...PLAIN, weights };
    const quantized = [...model.weights.values()]
      .filter((weight) => weight.kind === 'quantized')
      .map((weight) => weight.name);
    const plan = buildOnnx(model, options).weights;
    const kept = plan.filter(({ keepsCodes }) => keepsCodes).map((weight) => weight.name);
    expect(quantized.length).toBeGreaterThan(0);
    expect(kept.sort()).toEqual(weights === 'f32' ? [] : quantized.sort());
    const kinds = plan.filter((weight) => quantized.includes(weight.name)).map(({ storage }) => storage.kind);
    expect(new Set(kinds)).toEqual(new Set([kind]));
    const expected = readSafetensors(`${folder}/reference.safetensors`).get('logits')!.data;
    // From level `extended` on the runtime makes MatMulNBits of a DequantizeLinear and rounds the inputs to 8 bits.
    const session = kind === 'channels' ? { graphOptimizationLevel: 'basic' } : {};
    expect(distance(await exported(model, idsOf(folder), options, session), expected)).toBeLessThan(TOLERANCE);
    await model.close();
  });

  it.each(['gptq', 'awq'])('%s: as its own packer restores it', async (format) => {
    const folder = shared(`golden/${format}/checkpoint`);
    const model = await openModel(folder);
    const options = { ...PLAIN, weights: 'q4' } as const;
    const quantized = buildOnnx(model, options).weights.filter(({ source }) => source === 'quantized');
    expect(quantized.length).toBeGreaterThan(0);
    expect(quantized.every(({ keepsCodes }) => keepsCodes)).toBe(true);
    const expected = readSafetensors(`${folder}/reference.safetensors`).get('logits')!.data;
    expect(distance(await exported(model, idsOf(folder), options), expected)).toBeLessThan(TOLERANCE);
    await model.close();
  });

  it('w8a8-int: inputs are rounded token by token, as evaluation does', async () => {
    const folder = shared('golden/compressed-tensors/w8a8-int/checkpoint');
    const model = await openModel(folder);
    const device = cpuDevice({ threads: 1 });
    const ids = idsOf(folder);
    const own = await logits(model, ids, { device, activations: 'quantized' });
    const plain = await logits(model, ids, { device });
    const found = await exported(model, ids, { ...PLAIN, weights: 'int8' });
    expect(distance(found, own.data)).toBeLessThan(TOLERANCE);
    expect(distance(found, plain.data)).toBeGreaterThan(100 * TOLERANCE);
    await model.close();
    await device.dispose();
  });
});

/** Replaces the linears of the blocks by made-up codes. */
function coded(model: LanguageModel, make: (name: string, shape: readonly number[]) => QuantizedWeight): LanguageModel {
  const weights = new Map(model.weights);
  for (const { linears } of model.architecture.blocks) {
    for (const { name } of linears) weights.set(name, make(name, weights.get(name)!.shape));
  }
  return { ...model, weights };
}

/** Codes, scales and zero points that differ everywhere. */
function madeUpCodes(
  name: string,
  shape: readonly number[],
  scheme: IntegerScheme,
  rest: Partial<QuantizedWeight> = {},
): QuantizedWeight {
  const [rows, columns] = shape;
  const half = 2 ** (scheme.bits - 1);
  const { granularity, symmetric } = scheme;
  const groups = granularity.kind === 'group' ? columns / granularity.size : 1;
  const count = granularity.kind === 'tensor' ? 1 : rows * groups;
  const mixed = (i: number, by: number) => ((i * 2_654_435_761 + by * 40_503) >>> 7) % (2 * half);
  const all: CodeBlock = {
    codes: Int8Array.from({ length: rows * columns }, (_, i) => mixed(i, name.length) - half),
    scales: Float32Array.from({ length: count }, (_, i) => (0.02 + 0.01 * Math.sin(i)) / half),
    ...(!symmetric && { zeroPoints: Int8Array.from({ length: count }, (_, i) => (mixed(i, 3) - half) / 2) }),
  };
  const per = granularity.kind === 'tensor' ? 0 : groups;
  const part = <T extends Int8Array | Float32Array>(values: T, start: number, end: number): T =>
    (per === 0 ? values : values.slice(start * per, end * per)) as T;
  return quantizedWeight({
    name,
    shape,
    scheme,
    ...(rest.groupIndex && { groupIndex: rest.groupIndex }),
    ...(rest.activations && { activations: rest.activations }),
    read: (start, end) =>
      Promise.resolve({
        codes: (all.codes as Int8Array).slice(start * columns, end * columns),
        scales: part(all.scales, start, end),
        ...(all.zeroPoints && { zeroPoints: part(all.zeroPoints, start, end) }),
      }),
  });
}

/** Logits with the inputs of the blocks' linears rounded as DynamicQuantizeLinear does: u8 over the range of all values, 0 in it. */
async function roundedPerRun(model: LanguageModel, ids: readonly number[]): Promise<Float32Array> {
  const weights: Record<string, tf.Tensor> = {};
  for (const [name, weight] of model.weights) weights[name] = tf.tensor(await weight.toF32(), [...weight.shape]);
  const inBlocks = new Set(model.architecture.blocks.flatMap(({ linears }) => linears.map(({ path }) => path)));
  const round = ({ path, name, biasName }: LinearSpec, x: tf.Tensor): tf.Tensor => {
    const bias = biasName === null ? undefined : weights[biasName];
    if (!inBlocks.has(path)) return linear(x, weights[name], bias);
    const [low, high] = [tf.minimum(tf.min(x), 0), tf.maximum(tf.max(x), 0)];
    const scale = tf.div(tf.sub(high, low), 255);
    const zero = tf.round(tf.clipByValue(tf.neg(tf.div(low, scale)), 0, 255));
    const codes = tf.clipByValue(tf.add(tf.round(tf.div(x, scale)), zero), 0, 255);
    return linear(tf.mul(tf.sub(codes, zero), scale), weights[name], bias);
  };
  const text = tf.tensor2d([...ids], [1, ids.length], 'int32');
  return (await causalStates(model.architecture, weights, text, round).logits.data()) as Float32Array;
}

const int = (bits: number, symmetric: boolean, size?: number): IntegerScheme => ({
  kind: 'int',
  bits,
  symmetric,
  granularity: size === undefined ? { kind: 'channel' } : { kind: 'group', size },
  scaleDType: 'f32',
});

describe.skipIf(!hasShared || !hasRuntime('onnxruntime-node'))('made-up codes', () => {
  const ids = [1, 5, 9, 13, 2, 7, 7, 30];
  const base = () => folderModel(shared('golden/arch/llama'));
  const own = async (model: LanguageModel, activations?: 'quantized') => {
    const device = cpuDevice({ threads: 1 });
    const { data } = await logits(model, ids, { device, ...(activations && { activations }) });
    await device.dispose();
    return data;
  };
  const kinds = (model: LanguageModel, options: OnnxOptions) =>
    new Set(
      buildOnnx(model, options)
        .weights.filter(({ source }) => source === 'quantized')
        .map(({ keepsCodes }) => keepsCodes),
    );

  it.each([
    ['2 bits in groups of 16, asymmetric', int(2, false, 16), 'q4'],
    ['3 bits with a scale for each row', int(3, true), 'q4'],
    ['4 bits, one scale for the tensor', { ...int(4, false), granularity: { kind: 'tensor' } } as const, 'q4'],
    ['6 bits in groups of 32', int(6, true, 32), 'q8'],
    ['8 bits in groups of 16, asymmetric', int(8, false, 16), 'q8'],
    ['8 bits, asymmetric rows', int(8, false), 'int8'],
  ] as const)('%s', async (_, scheme, weights) => {
    const model = coded(base(), (name, shape) => madeUpCodes(name, shape, scheme));
    const options = { ...PLAIN, weights };
    expect(kinds(model, options)).toEqual(new Set([true]));
    const session = weights === 'int8' ? { graphOptimizationLevel: 'basic' } : {};
    const expected = await own(model);
    expect(distance(await exported(model, ids, options, session), expected)).toBeLessThan(TOLERANCE);
  });

  it('columns in another order than that of their groups: the inputs are gathered', async () => {
    const order = (columns: number) =>
      Int32Array.from({ length: columns }, (_, i) => ((i * 7) % columns) % (columns / 16));
    const model = coded(base(), (name, shape) =>
      madeUpCodes(name, shape, int(4, false, 16), { groupIndex: order(shape[1]) }),
    );
    const options = { ...PLAIN, weights: 'q4' } as const;
    expect(kinds(model, options)).toEqual(new Set([true]));
    expect(distance(await exported(model, ids, options), await own(model))).toBeLessThan(TOLERANCE);
  });

  it('groups of uneven length, or ones that no block divides, cannot be kept', () => {
    const uneven = (columns: number) =>
      Int32Array.from({ length: columns }, (_, i) => (i < 17 ? 0 : 1) % (columns / 16));
    const model = coded(base(), (name, shape) =>
      madeUpCodes(name, shape, int(4, true, 16), { groupIndex: uneven(shape[1]) }),
    );
    expect(kinds(model, { ...PLAIN, weights: 'q4' })).toEqual(new Set([false]));
    const short = coded(base(), (name, shape) => madeUpCodes(name, shape, int(4, true, 8)));
    expect(kinds(short, { ...PLAIN, weights: 'q4' })).toEqual(new Set([false]));
    const wide = coded(base(), (name, shape) => madeUpCodes(name, shape, int(5, true, 16)));
    expect(kinds(wide, { ...PLAIN, weights: 'q4' })).toEqual(new Set([false]));
    expect(kinds(wide, { ...PLAIN, weights: 'q8' })).toEqual(new Set([true]));
  });

  it('static scales of inputs, from the weight or from calibration', async () => {
    const activations = { kind: 'tensor-static', dtype: 'i8', symmetric: false, scale: 0.031, zeroPoint: -9 } as const;
    const stored = coded(base(), (name, shape) => madeUpCodes(name, shape, int(8, true), { activations }));
    const expected = await own(stored, 'quantized');
    const session = { graphOptimizationLevel: 'basic' };
    const options = { ...PLAIN, weights: 'int8' } as const;
    expect(distance(await exported(stored, ids, options, session), expected)).toBeLessThan(TOLERANCE);
    const bare = coded(base(), (name, shape) => madeUpCodes(name, shape, int(8, true)));
    const inputs = new Map([...bare.weights.keys()].map((name) => [name, activations]));
    expect(distance(await exported(bare, ids, { ...options, inputs }, session), expected)).toBeLessThan(TOLERANCE);
  });

  it('inputs with a scale and a zero point for each token', async () => {
    const activations = { kind: 'token-dynamic', dtype: 'i8', symmetric: false } as const;
    const model = coded(base(), (name, shape) => madeUpCodes(name, shape, int(8, true), { activations }));
    const session = { graphOptimizationLevel: 'basic' };
    const found = await exported(model, ids, { ...PLAIN, weights: 'int8' }, session);
    expect(distance(found, await own(model, 'quantized'))).toBeLessThan(TOLERANCE);
  });

  it('a scale for each token and a bias behind the product, at every level of optimization', async () => {
    const activations = { kind: 'token-dynamic', dtype: 'i8', symmetric: true } as const;
    const model = coded(folderModel(shared('golden/arch/qwen2')), (name, shape) =>
      madeUpCodes(name, shape, int(8, true), { activations }),
    );
    const expected = await own(model, 'quantized');
    for (const graphOptimizationLevel of ['basic', 'extended', 'all']) {
      const found = await exported(model, ids, { ...PLAIN, weights: 'int8' }, { graphOptimizationLevel });
      // An input on the border of two codes may fall to either side: one step of the 255 of one of 64 columns.
      const step = distance(expected, new Float32Array(expected.length)) / 255;
      expect(distance(found, expected), graphOptimizationLevel).toBeLessThan(step);
    }
  });

  it('one scale for all tokens, found while it runs: as Pith computes with inputs rounded by that rule', async () => {
    const model = coded(base(), (name, shape) => madeUpCodes(name, shape, int(8, true)));
    const expected = await roundedPerRun(model, ids);
    const found = await exported(model, ids, { ...PLAIN, weights: 'int8', activations: 'tensor-dynamic' });
    expect(distance(found, expected)).toBeLessThan(TOLERANCE);
    expect(distance(found, await own(model))).toBeGreaterThan(10 * TOLERANCE);
  });

  it('rounding that nobody was given for is refused by the name of the weight', async () => {
    await expect(exported(base(), ids, { ...PLAIN, weights: 'q4' })).rejects.toMatchObject({ code: 'ONNX_ROUNDING' });
  });
});

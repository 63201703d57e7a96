// Programs with dynamic axes: traced once for all lengths, run at many, and held to tfjs itself. And what is refused.
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import ort from 'onnxruntime-node';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { OnnxModelBuilder } from '../onnx/model-builder.ts';
import { recordNode } from '../record-node.ts';
import type { TracedFunction } from '../trace.ts';
import { dimOf, pickTags } from './dims.ts';
import { emitProgram } from './emit-program.ts';
import { traceDynamic } from './trace-dynamic.ts';
import type { DynamicSpec } from './trace-dynamic.ts';

beforeAll(() => {
  tf.env().set('PROD', true);
  ort.env.logLevel = 'fatal';
});
beforeEach(async () => {
  await tf.setBackend('cpu');
});

const code = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'nothing was thrown';
};

type Signature = Readonly<Record<string, DynamicSpec>>;
const AXES = { batch: {}, tokens: { largest: 61 }, total: {}, past: { difference: ['total', 'tokens'] } } as const;

/** The function as an ONNX model whose axes are named. */
function modelOf(fn: TracedFunction<never>, signature: Signature): Uint8Array {
  const program = traceDynamic(fn as never, signature, { axes: AXES });
  const builder = new OnnxModelBuilder('test');
  const axes: Record<string, { value: string; axis: number }> = {};
  for (const [name, { shape, dtype = 'float32' }] of Object.entries(signature)) {
    builder.input(name, dtype === 'int32' ? 'i32' : 'f32', shape);
    shape.forEach((length, axis) => {
      if (typeof length === 'string') axes[length] ??= { value: name, axis };
    });
  }
  const results = emitProgram(program, builder, { input: (name) => name, axes });
  for (const [name, value] of results) {
    builder.node('Identity', [value], { outputs: [name] });
    const { dims } = (program.outputs.get(name) as unknown as { type: { dims: unknown[] } }).type;
    builder.output(
      name,
      'f32',
      dims.map((_, axis) => `${name}_${axis}`),
    );
  }
  return builder.toBytes(() => new Uint8Array());
}

/** Runs the model and tfjs at the same lengths. */
async function agree(fn: TracedFunction<never>, signature: Signature, lengths: readonly Record<string, number>[]) {
  const session = await ort.InferenceSession.create(modelOf(fn, signature), { logSeverityLevel: 4 });
  for (const at of lengths) {
    const inputs: Record<string, tf.Tensor> = {};
    const feeds: Record<string, ort.Tensor> = {};
    let seed = 1;
    for (const [name, { shape, dtype = 'float32' }] of Object.entries(signature)) {
      const known = shape.map((length) => (typeof length === 'string' ? at[length]! : length));
      const size = known.reduce((a, b) => a * b, 1);
      const values = Float32Array.from({ length: size }, () => Math.sin((seed += 1.7)));
      const whole = Int32Array.from(values, (value) => Math.abs(Math.trunc(value * 5)));
      inputs[name] = tf.tensor(dtype === 'int32' ? whole : values, known, dtype);
      feeds[name] =
        dtype === 'int32' ? new ort.Tensor('int32', whole, known) : new ort.Tensor('float32', values, known);
    }
    const expected = (fn as unknown as (given: Record<string, tf.Tensor>) => tf.Tensor)(inputs);
    const { output } = await session.run(feeds);
    expect(output!.dims).toEqual(expected.shape);
    const difference = tf.max(tf.abs(tf.sub(expected, tf.tensor(output!.data as Float32Array, expected.shape))));
    expect(expected.size === 0 ? 0 : difference.dataSync()[0]!, JSON.stringify(at)).toBeLessThan(1e-5);
  }
  await session.release();
}

const SIZES = [
  { batch: 1, tokens: 1, past: 0, total: 1 },
  { batch: 1, tokens: 1, past: 7, total: 8 },
  { batch: 3, tokens: 5, past: 0, total: 5 },
  { batch: 2, tokens: 70, past: 11, total: 81 },
];

describe('programs that run at every length', () => {
  test('attention over a cache: reshapes with two unknown lengths, transposes, products, softmax', async () => {
    const attention = ({ q, k, v, past, mask }: Record<string, tf.Tensor>): tf.Tensor => {
      const [batch, tokens] = q!.shape as [number, number];
      const heads = (x: tf.Tensor, count: number) =>
        tf.transpose(tf.reshape(x, [batch, tokens, count, 4]), [0, 2, 1, 3]);
      const keys = tf.concat([past!, heads(k!, 2)], 2);
      const values = tf.concat([past!, heads(v!, 2)], 2);
      const rows = tf.reshape(tf.mul(heads(q!, 6), 0.5), [batch, 2, 3 * tokens, 4]);
      const scores = tf.reshape(tf.matMul(rows, keys, false, true), [batch, 2, 3, tokens, keys.shape[2]!]);
      const shares = tf.reshape(tf.softmax(tf.add(scores, mask!)), [batch, 2, 3 * tokens, keys.shape[2]!]);
      const mixed = tf.transpose(tf.reshape(tf.matMul(shares, values), [batch, 6, tokens, 4]), [0, 2, 1, 3]);
      return tf.reshape(mixed, [batch, tokens, 24]);
    };
    const signature = {
      q: { shape: ['batch', 'tokens', 24] },
      k: { shape: ['batch', 'tokens', 8] },
      v: { shape: ['batch', 'tokens', 8] },
      past: { shape: ['batch', 2, 'past', 4] },
      mask: { shape: ['batch', 1, 1, 'tokens', 'total'] },
    };
    await agree(attention as never, signature, SIZES);
  });

  test('norms, gathers, broadcasts, slices, tiles and reductions over dynamic axes', async () => {
    const mixture = ({ ids, table, x }: Record<string, tf.Tensor>): tf.Tensor => {
      const rows = tf.gather(table!, ids as tf.Tensor2D);
      const flat = tf.reshape(tf.add(rows, x!), [-1, 6]);
      const normed = tf.mul(flat, tf.rsqrt(tf.add(tf.mean(tf.square(flat), -1, true), 1e-5)));
      const [left, right] = tf.split(tf.reshape(normed, rows.shape), 2, -1);
      const both = tf.concat([tf.mul(left!, tf.sigmoid(right!)), tf.zerosLike(left!)], -1);
      const total = tf.broadcastTo(tf.sum(both, 1, true), both.shape);
      return tf.where(tf.greater(both, 0), tf.sub(both, total), tf.onesLike(both));
    };
    const signature = {
      ids: { shape: ['batch', 'tokens'], dtype: 'int32' },
      table: { shape: [5, 6] },
      x: { shape: ['batch', 'tokens', 6] },
    } as const;
    await agree(mixture as never, signature, SIZES);
  });

  test('a constant of the size of an axis is filled when the program runs', async () => {
    const fn = ({ x }: Record<string, tf.Tensor>): tf.Tensor =>
      tf.concat([x!, tf.fill([x!.shape[0]!, x!.shape[1]!, 2], 7)], -1);
    await agree(fn as never, { x: { shape: ['batch', 'tokens', 3] } }, SIZES);
  });

  test('an operator of another library, recorded in the middle', () => {
    const fn = ({ x }: Record<string, tf.Tensor>): tf.Tensor =>
      tf.neg(
        recordNode([x!], {
          opType: 'Linear',
          domain: 'pith',
          attributes: { path: { string: 'a.b' } },
          output: { shape: [...x!.shape.slice(0, -1), 9] },
        }),
      );
    const program = traceDynamic(fn as never, { x: { shape: ['batch', 'tokens', 4] } }, { axes: AXES });
    expect(program.nodes.map(({ opType, domain }) => `${domain}:${opType}`)).toEqual(['pith:Linear', ':Neg']);
    const [linear] = program.nodes;
    expect(linear!.outputs[0]!.type.dims).toEqual([{ factor: 1, axes: ['batch'] }, { factor: 1, axes: ['tokens'] }, 9]);
    const seen: string[] = [];
    const builder = new OnnxModelBuilder('lowered');
    builder.input('x', 'f32', ['batch', 'tokens', 4]);
    const results = emitProgram(program, builder, {
      input: (name) => name,
      axes: {},
      lower: ({ opType }, { names }) => {
        if (opType !== 'Linear') return undefined;
        seen.push(names[0]!);
        return builder.op('Mul', [names[0], builder.float(2)]);
      },
    });
    expect(seen).toEqual(['x']);
    expect(results.get('output')).toBe('Neg');
  });
});

describe('refusals', () => {
  const x = { shape: ['batch', 'tokens'] };
  const traced = (fn: (x: tf.Tensor) => tf.Tensor) =>
    code(() => traceDynamic(({ x: given }) => fn(given!), { x }, { axes: AXES }));

  test('constants that are made of a length', () => {
    expect(traced((given) => tf.add(given, tf.range(0, given.shape[1]!)))).toBe('DYNAMIC_TRACE');
    expect(traced((given) => tf.div(given, given.shape[1]!))).toBe('DYNAMIC_TRACE');
  });

  test('lengths that are sums of an axis and a number', () => {
    expect(traced((given) => tf.concat([given, tf.slice(given, [0, 0], [-1, 2])], 1))).toBe('DYNAMIC_TRACE');
  });

  test('loops over a length', () => {
    const fn = (given: tf.Tensor): tf.Tensor => {
      let sum = tf.zeros([given.shape[0]!]);
      for (const column of tf.unstack(given, 1)) sum = tf.exp(tf.add(sum, column));
      return sum;
    };
    expect(traced(fn)).toBe('DYNAMIC_TRACE');
  });

  test('a node outside of a trace, an axis that is found nowhere, a name twice', () => {
    expect(code(() => recordNode([tf.zeros([1])], { opType: 'Neg', output: { shape: [1] } }))).toBe('TRACE_OUTSIDE');
    const program = traceDynamic(({ x: given }) => tf.fill(given!.shape, 3), { x }, { axes: AXES });
    const builder = new OnnxModelBuilder('none');
    expect(code(() => emitProgram(program, builder, { input: (name) => name, axes: {} }))).toBe('DYNAMIC_SHAPE');
    builder.stored('w', 'f32', [1]);
    expect(code(() => builder.stored('w', 'f32', [1]))).toBe('ONNX_DUPLICATE_NAME');
  });

  test('numbers that leave no lengths to tell apart', () => {
    const all = Array.from({ length: 1000 }, (_, i) => i);
    expect(code(() => pickTags(AXES, all))).toBe('DYNAMIC_AXES');
  });
});

test('lengths that stand for axes divide nothing, and are told apart again', () => {
  const avoid = [2048, 17 * 61, 32003, 59, 1024];
  const tags = pickTags(AXES, avoid);
  const again = pickTags(AXES, avoid, Object.values(tags));
  for (const chosen of [tags, again]) {
    for (const tag of Object.values(chosen)) for (const number of avoid) expect(number % tag).not.toBe(0);
    expect(chosen['past']).toBe(chosen['total']! - chosen['tokens']!);
    expect(chosen['tokens']).toBeLessThanOrEqual(61);
    expect(dimOf(12 * chosen['batch']! * chosen['tokens']! ** 2, chosen)).toEqual({
      factor: 12,
      axes: ['batch', 'tokens', 'tokens'],
    });
    expect(dimOf(chosen['past']!, chosen)).toEqual({ factor: 1, axes: ['past'] });
    expect(dimOf(2048, chosen)).toBe(2048);
  }
  expect(new Set([...Object.values(tags), ...Object.values(again)]).size).toBe(8);
});

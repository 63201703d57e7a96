import type { Device, QuantizationScheme } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quantize } from '../rtn/quantize.ts';
import { planned, runPasses, tinyModel } from '../testing/tiny-model.fixture.ts';
import { scaleCandidates, WeightMeans } from './candidates.ts';
import { searchClipping } from './clip-search.ts';
import { ErrorPrograms } from './error-programs.ts';
import { awqPass } from './pass.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

const ROWS = 6;
const COLUMNS = 16;
const weights = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => Math.sin(1.3 * i) + (i % 16 === 6 ? 4 : 0));
const inputs = Array.from({ length: 40 }, (_, t) =>
  Float64Array.from({ length: COLUMNS }, (_, i) => Math.cos(t * (i + 1)) * (i % 5 === 0 ? 8 : 0.5)),
);
const gram = Float32Array.from({ length: COLUMNS * COLUMNS }, (_, i) =>
  inputs.reduce((sum, x) => sum + x[Math.floor(i / COLUMNS)]! * x[i % COLUMNS]!, 0),
);

/** Squares of x dᵀ summed over the inputs, row by row of d: the definition. */
function outputSquares(difference: ArrayLike<number>): number[] {
  return Array.from({ length: ROWS }, (_, row) =>
    inputs.reduce((sum, x) => sum + x.reduce((y, value, i) => y + value * difference[row * COLUMNS + i]!, 0) ** 2, 0),
  );
}

describe('error programs', () => {
  it.each([
    ['asymmetric, groups', false, 8],
    ['symmetric, channel', true, COLUMNS],
  ])('give what rounding and multiplying gives: %s', async (_, symmetric, groupSize) => {
    const coding = { bits: 4, symmetric, groupSize };
    const programs = new ErrorPrograms(device, coding, COLUMNS);
    const scales = Float32Array.from({ length: COLUMNS }, (_, i) => 0.5 + (i % 3));
    const scheme: QuantizationScheme = {
      kind: 'int',
      bits: 4,
      symmetric,
      granularity: groupSize === COLUMNS ? { kind: 'channel' } : { kind: 'group', size: groupSize },
      scaleDType: 'f32',
    };
    const values = weights.map((value, i) => value * scales[i % COLUMNS]!);
    const rounded = quantize({ values, shape: [ROWS, COLUMNS], dtype: 'f32' }, scheme, { kind: 'minmax' });
    const restored = Float64Array.from(rounded.codes, (byte, i) => {
      const at = Math.floor(i / groupSize);
      const code = ((byte << 24) >> 24) - (rounded.zeroPoints?.[at] ?? 0);
      return (code * rounded.scales[at]!) / scales[i % COLUMNS]!;
    });
    const expected = outputSquares(restored.map((value, i) => value - weights[i]!));
    const found = await programs.scaledErrors(weights, scales, gram);
    expected.forEach((error, row) => expect(Math.abs(found[row]! / error - 1)).toBeLessThan(1e-4));
    const squares = await programs.outputSquares(weights, gram);
    outputSquares(weights).forEach((square, row) => expect(Math.abs(squares[row]! / square - 1)).toBeLessThan(1e-4));
    await programs.dispose();
  });

  it('clipping never does worse than the whole range, group by group, and rounding keeps the ranges', async () => {
    const programs = new ErrorPrograms(device, { bits: 3, symmetric: true, groupSize: COLUMNS }, COLUMNS);
    const search = { weights, columns: COLUMNS, groupSize: COLUMNS, blocks: gram, programs };
    const clipped = await searchClipping({ ...search, grid: { candidates: 20, smallest: 0.3 } });
    const scheme = {
      kind: 'int',
      bits: 3,
      symmetric: true,
      scaleDType: 'f32',
      granularity: { kind: 'channel' },
    } as const;
    const error = (values: Float32Array) => {
      const { codes, scales } = quantize({ values, shape: [ROWS, COLUMNS], dtype: 'f32' }, scheme, { kind: 'minmax' });
      const restored = Float64Array.from(codes, (byte, i) => ((byte << 24) >> 24) * scales[Math.floor(i / COLUMNS)]!);
      return outputSquares(restored.map((value, i) => value - weights[i]!));
    };
    const [plain, better] = [error(weights), error(clipped.weights)];
    plain.forEach((square, row) => expect(better[row]).toBeLessThanOrEqual(square * (1 + 1e-4)));
    expect(better.some((square, row) => square < 0.9 * plain[row]!)).toBe(true);
    expect(clipped.clippedGroups).toBeGreaterThan(0);
    await programs.dispose();
  });
});

describe('candidates', () => {
  it('no scaling first; exponents of the activations; normalised to a geometric middle of 1', () => {
    const activations = Float64Array.of(1, 16);
    const [identity, ...others] = scaleCandidates(activations, Float64Array.of(1, 1), {
      gridPoints: 2,
      duoScaling: false,
    });
    expect(identity).toMatchObject({ kind: 'identity', scales: Float64Array.of(1, 1) });
    expect(others).toEqual([{ kind: 'activation', ratio: 0.5, scales: Float64Array.of(0.5, 2) }]);
    const both = scaleCandidates(activations, Float64Array.of(1, 1), { gridPoints: 20, duoScaling: 'both' });
    expect(both.map(({ kind }) => kind).filter((kind) => kind === 'duo')).toHaveLength(20);
    expect(both).toHaveLength(1 + 20 + 19);
  });

  it('weights count by their share of the largest of their group, over all matrices', () => {
    const means = new WeightMeans(4);
    means.add(Float32Array.of(1, -2, 10, 5), 2);
    means.add(Float32Array.of(2, -2, 5, 10), 2);
    Array.from(means.result(), (mean, i) => expect(mean).toBeCloseTo([0.75, 1, 0.75, 0.75][i]!, 5));
  });
});

describe('awqPass', () => {
  it('is no worse than rounding to nearest in the output of every block, and usually better', async () => {
    for (const dtype of ['f32', 'bf16'] as const) {
      const { outcomes } = await runPasses(tinyModel(dtype), [awqPass({ scheme: 'w3g8-asym' })], {
        device,
        pool,
        inputs: 'original',
      });
      let better = 0;
      for (const { block, weights: after, records, interventions } of outcomes) {
        expect(interventions).toEqual([]);
        for (const { name } of block.linears) {
          expect(after.get(name)!.kind).toBe('quantized');
          const { scaling, search } = records[0]!.records[name]! as { scaling: string; search: Record<string, number> };
          expect(search['blockError']).toBeLessThanOrEqual(search['plainBlockError']!);
          if (scaling !== 'identity') better += 1;
        }
      }
      expect(better).toBeGreaterThan(0);
    }
  });

  it('says where a linear cannot be scaled: one that an earlier stage has rounded already', async () => {
    const { outcomes } = await runPasses(tinyModel(), [awqPass({ scheme: 'w4g8', finalists: 0, gridPoints: 3 })], {
      ...{ device, pool },
      order: 'groups',
    });
    const codes = outcomes[0]!.interventions.map(({ code, where }) => [code, where]);
    expect(codes).toEqual([
      ['SCALES_NOT_FOLDED', 'model.layers.0.self_attn.o_proj'],
      ['SCALES_NOT_FOLDED', 'model.layers.0.mlp.down_proj'],
    ]);
  });

  it('codes linears of one input differently, each searched as it is coded', async () => {
    const options = { scheme: 'w4g8', schemeFor: { v_proj: 'w8', 'layers.1.mlp': 'w3g16-asym' }, gridPoints: 4 };
    const { outcomes } = await runPasses(tinyModel(), [awqPass(options)], { device, pool });
    const [first, second] = outcomes.map(({ weights }) => weights);
    expect(first!.get('model.layers.0.self_attn.q_proj.weight')).toMatchObject({ scheme: { bits: 4 } });
    expect(first!.get('model.layers.0.self_attn.v_proj.weight')).toMatchObject({
      scheme: { bits: 8, granularity: { kind: 'channel' } },
    });
    expect(second!.get('model.layers.1.mlp.up_proj.weight')).toMatchObject({ scheme: { bits: 3, symmetric: false } });
    // Eight bits lose a few thousandths of what four do.
    const lost = (name: string) => {
      const record = outcomes[0]!.records[0]!.records[`model.layers.0.self_attn.${name}.weight`];
      return record!['relativeOutputError'] as number;
    };
    expect(lost('v_proj')).toBeLessThan(0.02 * lost('k_proj'));
    const wrong = awqPass({ ...options, schemeFor: { v_proj: 'fp8' } }).plan(planned(tinyModel()));
    expect(wrong.problems).toMatchObject([{ code: 'SCHEME_UNSUPPORTED', name: 'fp8' }]);
  });

  it('plans what it scales and what it rounds', () => {
    const { changes, problems, notices } = awqPass({ scheme: 'w4g8', ignore: ['k_proj'] }).plan(planned(tinyModel()));
    expect(problems).toEqual([]);
    expect(notices).toEqual([]);
    const first = changes.filter(({ name }) => name.startsWith('model.layers.0.'));
    expect(first.map(({ name, action }) => [name.slice('model.layers.0.'.length), action])).toEqual([
      ['input_layernorm.weight', 'scale'],
      ['self_attn.k_proj.weight', 'scale'],
      ['self_attn.v_proj.bias', 'scale'],
      ['post_attention_layernorm.weight', 'scale'],
      ['self_attn.q_proj.weight', 'quantize'],
      ['self_attn.v_proj.weight', 'quantize'],
      ['self_attn.o_proj.weight', 'quantize'],
      ['mlp.gate_proj.weight', 'quantize'],
      ['mlp.up_proj.weight', 'quantize'],
      ['mlp.down_proj.weight', 'quantize'],
    ]);
    for (const scheme of ['fp8', 'w4-tensor']) {
      expect(awqPass({ scheme }).plan(planned(tinyModel())).problems).toMatchObject([{ code: 'SCHEME_UNSUPPORTED' }]);
    }
  });

  it('refuses options that are wrong, all at once', () => {
    const wrong = { scheme: 'w4', gridPoint: 3, gridPoints: 0, clipping: { candidates: 0 } } as never;
    expect(() => awqPass(wrong)).toThrow(
      /^awq options: .*gridPoints: must be at least 1.*gridPoint: unknown, did you mean gridPoints\?/,
    );
  });
});

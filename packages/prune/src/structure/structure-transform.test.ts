import { afterPlan, plannedWeight, type PlannedModel, type TransformContext } from '@pith/model';
import { cpuDevice, createKernelPool } from '@pith/tensor-core/node';
import type { KernelPool } from '@pith/tensor-core/node';
import { quantizedWeight } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { madeUpModel, memoryWeight, smallConfig } from './made-up-model.fixture.ts';
import type { StructureOptions } from './structure-config.ts';
import { structureTransform } from './structure-transform.ts';
import { withinMemory } from './within-memory.ts';

const device = cpuDevice({ threads: 1 });
let pool: KernelPool;
beforeAll(async () => {
  pool = createKernelPool({ threads: 1 });
});
afterAll(async () => {
  await device.dispose();
  await pool.dispose();
});

const json = smallConfig('qwen2', { tie_word_embeddings: true });
const model = madeUpModel(json, 'bf16');
const planned: PlannedModel = {
  config: json,
  architecture: model.architecture,
  weights: new Map([...model.weights].map(([name, weight]) => [name, plannedWeight(weight)])),
};
const windows = Array.from({ length: 4 }, (_, w) => Int32Array.from({ length: 16 }, (_, i) => (5 * i + 11 * w) % 48));
const context = (): TransformContext => ({ device, pool, seed: 0, windows });

describe('options', () => {
  const refused = (options: object) => {
    try {
      structureTransform(options as StructureOptions);
    } catch (error) {
      return (error as Error).message;
    }
    return 'accepted';
  };

  it('are checked, every offender at once', () => {
    const message = refused({ neuron: 0.5, layers: 1.5, kvGroups: 0, score: 'wnda' });
    expect(message).toContain('neuron: unknown, did you mean neurons?');
    expect(message).toContain('layers');
    expect(message).toContain('kvGroups: must be more than 0');
    expect(message).toContain('did you mean wanda?');
    expect(refused({})).toContain('at least one of layers, neurons, kvGroups, experts');
    expect(refused({ neurons: 1.5 })).toContain('share between 0 and 1');
    expect(refused({ layers: [1, 2, 1] })).toContain('must name each layer once');
    expect(refused({ layers: [1], contiguous: true, multipleOf: 8, score: 'wanda' })).toMatch(
      /score: .*contiguous: .*multipleOf: /,
    );
  });

  it('say whether calibration is needed', () => {
    expect(structureTransform({ layers: 1 }).calibrated).toBe(true);
    expect(structureTransform({ layers: [0] }).calibrated).toBe(false);
    expect(structureTransform({ neurons: 0.5 }).calibrated).toBe(true);
    expect(structureTransform({ layers: [0], neurons: 0.5, score: 'magnitude' }).calibrated).toBe(false);
  });
});

describe('plan', () => {
  for (const options of [
    { layers: [1] },
    { layers: 1, contiguous: true },
    { neurons: 0.3 },
    { kvGroups: 1 },
    { layers: 0.4, neurons: 5, kvGroups: 0.5, multipleOf: 4 },
  ] satisfies StructureOptions[]) {
    it(`says shapes, bytes and config as they come out: ${JSON.stringify(options)}`, async () => {
      const transform = structureTransform(options);
      const plan = transform.plan(planned);
      expect(plan.problems).toEqual([]);
      const result = await transform.apply(model, context());
      expect(plan.config).toEqual(result.config);
      const after = afterPlan(planned, plan);
      const facts = (weight: { name: string; shape: readonly number[]; byteLength: number; dtype?: unknown }) => [
        weight.name,
        weight.shape,
        weight.byteLength,
        weight.dtype,
      ];
      const byName = (a: unknown[], b: unknown[]) => String(a[0]).localeCompare(String(b[0]));
      expect([...after.weights.values()].map(facts).sort(byName)).toEqual(
        [...result.weights.values()].map((weight) => facts(plannedWeight(weight))).sort(byName),
      );
      expect(after.architecture.config.layers).toBe(options.layers === undefined ? 3 : 2);
    });
  }

  it('rounds what stays up to a multiple, and shares of what goes down', () => {
    const config = (options: StructureOptions) => structureTransform(options).plan(planned).config;
    expect(config({ neurons: 0.3 })).toEqual({ intermediate_size: 17 }); // 7 of 24 go
    expect(config({ neurons: 0.3, multipleOf: 8 })).toBeUndefined(); // 17 rounded up is 24
    expect(config({ neurons: 0.4, multipleOf: 8 })).toEqual({ intermediate_size: 16 }); // 15 rounded up
    expect(config({ neurons: 5 })).toEqual({ intermediate_size: 19 });
    expect(config({ kvGroups: 1 })).toEqual({ num_attention_heads: 2, num_key_value_heads: 1, head_dim: 8 });
  });

  it('says what is renamed and what goes', () => {
    const { changes } = structureTransform({ layers: [0], kvGroups: 1 }).plan(planned);
    const of = (name: string) => changes.find((change) => change.name === name);
    expect(of('model.layers.0.mlp.up_proj.weight')).toMatchObject({ action: 'remove', after: null });
    expect(of('model.layers.1.mlp.up_proj.weight')).toMatchObject({
      action: 'rename',
      after: { name: 'model.layers.0.mlp.up_proj.weight', shape: [24, 32] },
    });
    expect(of('model.layers.2.self_attn.o_proj.weight')).toMatchObject({
      action: 'slice',
      after: { name: 'model.layers.1.self_attn.o_proj.weight', shape: [32, 16], byteLength: 2 * 32 * 16 },
    });
    expect(of('model.norm.weight')).toBeUndefined();
  });

  it('refuses to remove everything, all offenders at once, and so does apply', async () => {
    const transform = structureTransform({ layers: 3, neurons: 24, kvGroups: 2 });
    const { problems } = transform.plan(planned);
    expect(problems.map(({ code }) => code)).toEqual(['NO_LAYER_LEFT', 'NO_HEAD_LEFT', 'NO_NEURON_LEFT']);
    expect(problems[1]!.message).toContain('ask for 1 at most');
    await expect(transform.apply(model, context())).rejects.toMatchObject({ code: 'STRUCTURE_IMPOSSIBLE' });
    const codes = (options: StructureOptions) =>
      structureTransform(options)
        .plan(planned)
        .problems.map(({ code }) => code);
    expect(codes({ layers: [2, 3, 5] })).toEqual(['LAYER_UNKNOWN', 'LAYER_UNKNOWN', 'NO_LAYER_LEFT']);
    expect(codes({ neurons: 25, kvGroups: 7 })).toEqual(['NO_HEAD_LEFT', 'NO_NEURON_LEFT']);
    expect(codes({ layers: 0.2, kvGroups: 0.4, neurons: 0.01 })).toEqual(Array(3).fill('REMOVES_NOTHING'));
    expect(codes({ neurons: 1, multipleOf: 16 })).toEqual(['REMOVES_NOTHING']);
  });

  it('refuses numbers of heads that transformers would refuse, and says which fit', () => {
    const config = smallConfig('llama', { num_attention_heads: 8, num_key_value_heads: 4 });
    const { architecture, weights } = madeUpModel(config);
    const llama = { config, architecture, weights: new Map([...weights].map(([n, w]) => [n, plannedWeight(w)])) };
    const { problems } = structureTransform({ kvGroups: 1 }).plan(llama);
    expect(problems).toMatchObject([{ code: 'HEADS_DO_NOT_DIVIDE', name: 'kvGroups' }]);
    expect(problems[0]!.message).toContain('6 query heads');
    expect(problems[0]!.message).toContain('counts that fit: 2, 3');
    expect(structureTransform({ kvGroups: 2 }).plan(llama).problems).toEqual([]);
  });

  it('refuses to cut codes, but moves them', async () => {
    const name = 'model.layers.2.mlp.down_proj.weight';
    const scheme = {
      kind: 'int',
      bits: 4,
      symmetric: true,
      granularity: { kind: 'channel' },
      scaleDType: 'f32',
    } as const;
    const codes = quantizedWeight({ name, shape: [32, 24], scheme, read: () => Promise.reject(new Error('not read')) });
    const stored = new Map(model.weights).set(name, codes);
    const plannedCodes = { ...planned, weights: new Map(planned.weights).set(name, plannedWeight(codes)) };
    const neurons = structureTransform({ neurons: 4, score: 'magnitude' });
    expect(neurons.plan(plannedCodes).problems).toMatchObject([{ code: 'WEIGHT_NOT_SLICEABLE', name }]);
    await expect(neurons.apply({ ...model, weights: stored }, context())).rejects.toThrow(/dense or factored/);
    const layers = structureTransform({ layers: [0] });
    expect(layers.plan(plannedCodes).problems).toEqual([]);
    const { weights } = await layers.apply({ ...model, weights: stored }, context());
    expect(weights.get('model.layers.1.mlp.down_proj.weight')).toMatchObject({ kind: 'quantized' });
  });
});

describe('apply', () => {
  it('needs no windows without calibration, and says where there are none', async () => {
    const without = { ...context(), windows: [] };
    await structureTransform({ neurons: 2, kvGroups: 1, layers: [1], score: 'magnitude' }).apply(model, without);
    await expect(structureTransform({ layers: 1 }).apply(model, without)).rejects.toMatchObject({
      code: 'CALIBRATION_EMPTY',
    });
    await expect(structureTransform({ neurons: 1 }).apply(model, without)).rejects.toMatchObject({
      code: 'CALIBRATION_EMPTY',
    });
  });

  it('removes neurons that are never used first, and reports what went', async () => {
    const dead = [3, 4, 17];
    const name = 'model.layers.1.mlp.up_proj.weight';
    const data = (await model.weights.get(name)!.toF32()).slice();
    for (const row of dead) data.fill(0, row * 32, (row + 1) * 32);
    const weights = new Map(model.weights).set(name, memoryWeight(name, [24, 32], data));
    for (const score of ['wanda', 'magnitude', 'taylor'] as const) {
      const { records } = await structureTransform({ neurons: 3, score }).apply({ ...model, weights }, context());
      expect(records['model.layers.1.mlp.down_proj.weight']).toMatchObject({
        removed: '3-4,17',
        lostShare: 0,
        kept: 21,
      });
    }
  });

  it('names the layer whose weights are NaN', async () => {
    const name = 'model.layers.2.mlp.up_proj.weight';
    const data = (await model.weights.get(name)!.toF32()).slice().fill(NaN, 0, 1);
    const weights = new Map(model.weights).set(name, memoryWeight(name, [24, 32], data));
    const broken = { ...model, weights };
    await expect(structureTransform({ neurons: 1, score: 'magnitude' }).apply(broken, context())).rejects.toThrow(
      /model\.layers\.2/,
    );
    await expect(structureTransform({ neurons: 1 }).apply(broken, context())).rejects.toMatchObject({
      code: 'ACTIVATIONS_NOT_FINITE',
    });
  });

  it('keeps to a memory limit: hidden states go to disk, or the run is refused', async () => {
    // A million windows of 16 tokens: 2 GB of hidden states.
    const many = { ...context(), windows: Array.from({ length: 1e6 }, () => windows[0]!) };
    expect(await withinMemory(model, [], many)).toEqual({});
    const limited = { ...many, memoryBytes: 4e8, directory: 'not made before anything is stored' };
    const options = await withinMemory(model, [], limited);
    expect(options.batchTokens).toBeGreaterThan(0);
    await options.activations!.dispose();
    expect(await withinMemory(model, [], { ...limited, windows })).not.toHaveProperty('activations');
    const { directory: _, ...without } = limited;
    const refused = (given: TransformContext) => structureTransform({ layers: 1 }).apply(model, given);
    await expect(refused(without)).rejects.toMatchObject({ code: 'DIRECTORY_MISSING' });
    await expect(refused({ ...limited, memoryBytes: 1000 })).rejects.toMatchObject({ code: 'MEMORY_TOO_SMALL' });
  });

  it('stops between two blocks', async () => {
    const signal = AbortSignal.abort();
    for (const options of [{ layers: 1 }, { neurons: 1 }, { neurons: 1, score: 'magnitude' }] as const) {
      await expect(structureTransform(options).apply(model, { ...context(), signal })).rejects.toMatchObject({
        code: 'STOPPED',
      });
    }
  });
});

describe('neurons of experts', () => {
  const mixtral = smallConfig('mixtral', { num_local_experts: 4, num_experts_per_tok: 2 });
  const mixed = smallConfig('qwen3_moe', {
    ...{ num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 12, head_dim: 8, mlp_only_layers: [1] },
  });

  it('go by what each expert reads; one without tokens is ranked by its weights, and that is said', async () => {
    const experts = madeUpModel(mixtral);
    // One token repeated: in the first block all of them go to the same two experts.
    const same = [new Int32Array(16).fill(7), new Int32Array(16).fill(7)];
    const transform = structureTransform({ neurons: 0.25 });
    const result = await transform.apply(experts, { ...context(), windows: same });
    expect(result.config).toEqual({ intermediate_size: 18 });
    const first = experts.architecture.blocks[0]!.linears.filter(
      ({ role, expert }) => role === 'down' && expert !== null,
    );
    for (const { name } of first) {
      expect(result.weights.get(name)!.shape).toEqual([32, 18]);
      expect(result.records[name]).toMatchObject({ unit: 'neurons', kept: 18 });
    }
    const idle = result.interventions.filter(
      ({ code, where }) => code === 'EXPERT_WITHOUT_TOKENS' && where.includes('.0.'),
    );
    expect(new Set(idle.map(({ where }) => /expert-(\d)/.exec(where)![1])).size).toBe(2);
    // Those are ranked as by magnitude, the others are not.
    const byWeights = await structureTransform({ neurons: 0.25, score: 'magnitude' }).apply(experts, context());
    const alike = first.filter(({ name }) => result.records[name]!['removed'] === byWeights.records[name]!['removed']);
    expect(alike.map(({ expert }) => expert).sort()).toEqual(
      [...new Set(idle.map(({ where }) => Number(/expert-(\d)/.exec(where)![1])))].sort(),
    );
  });

  it('and those of layers without experts lose the same share; a count would be of both', async () => {
    const model = madeUpModel(mixed);
    const weights = new Map([...model.weights].map(([name, weight]) => [name, plannedWeight(weight)]));
    const planned: PlannedModel = { config: mixed, architecture: model.architecture, weights };
    const transform = structureTransform({ neurons: 0.25, score: 'magnitude' });
    const { changes, problems, notices, config } = transform.plan(planned);
    expect(problems).toEqual([]);
    expect(notices).toEqual(['6 of 24 neurons of each layer go', '3 of 12 neurons of each expert go']);
    const result = await transform.apply(model, context());
    expect(result.config).toEqual({ intermediate_size: 18, moe_intermediate_size: 9 });
    expect(config).toEqual(result.config);
    for (const { name, after } of changes) expect(result.weights.get(name)!.shape, name).toEqual(after!.shape);
    expect(structureTransform({ neurons: 2, score: 'magnitude' }).plan(planned).problems).toMatchObject([
      { code: 'NEURONS_AMBIGUOUS', message: expect.stringContaining('24 neurons and others experts of 12') as string },
    ]);
  });
});

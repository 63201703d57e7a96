// Seeded mutations of a `quantization_config` that uses every layout: what it says is read, or refused with a PithError; nothing
// else is thrown, no expression is run, and no buffer is larger than the input and a constant. A failing case prints its number:
// the stream of the seed repeats it.
import { isPithError, randomStream, type RandomStream } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { openCheckpointFrom } from '../huggingface/checkpoint.ts';
import type { JsonValue } from '../json/parse-json.ts';
import { planOutput, type OutputTensor } from '../safetensors/plan-output.ts';
import { countAllocations } from '../testing/count-allocations.fixture.ts';
import { memoryStore } from '../testing/memory-store.fixture.ts';
import { mutate } from '../testing/mutate.fixture.ts';
import { readQuantizationConfig } from './quantization-config.ts';

const SEED = 20261127;
/** Buffers beyond the input itself: text encoders and decoders, shapes, scales, group indices. */
const CONSTANT = 64 * 1024;
/** A module whose name makes `(a+)+$` try for ever. */
const TRAP = `${'a'.repeat(60)}!`;

const float = { type: 'float', symmetric: true, dynamic: false };
const inputs = { ...float, num_bits: 4, strategy: 'tensor_group', group_size: 16, dynamic: 'local' };
const said = {
  quant_method: 'compressed-tensors',
  format: 'mixed-precision',
  version: '0.14.0',
  config_groups: {
    group_0: {
      targets: ['Linear', 're:.*a$'],
      format: 'pack-quantized',
      weights: { num_bits: 4, type: 'int', symmetric: false, strategy: 'group', group_size: 8, actorder: 'group' },
    },
    group_1: {
      targets: ['b'],
      format: 'int-quantized',
      weights: { num_bits: 8, strategy: 'channel' },
      input_activations: { num_bits: 8, symmetric: false, strategy: 'tensor', dynamic: false },
    },
    group_2: {
      format: 'nvfp4-pack-quantized',
      weights: { ...float, num_bits: 4, strategy: 'tensor_group', group_size: 16, scale_dtype: 'torch.float8_e4m3fn' },
      input_activations: inputs,
    },
    group_3: {
      format: 'mxfp4-pack-quantized',
      weights: { ...float, num_bits: 4, strategy: 'group', group_size: 32, scale_dtype: 'torch.uint8' },
    },
    group_4: {
      format: 'float-quantized',
      weights: { ...float, num_bits: 8, strategy: 'block', block_structure: [2, 16] },
    },
  },
  ignore: ['lm_head'],
  kv_cache_scheme: { ...float, num_bits: 8, strategy: 'tensor' },
  sparsity_config: { format: 'dense' },
};

const filled: Readonly<Record<string, Uint8Array>> = {
  'a.weight_shape': new Uint8Array(BigInt64Array.of(4n, 32n).buffer),
  'a.weight_g_idx': new Uint8Array(Int32Array.from({ length: 32 }, (_, i) => i & 3).buffer),
  'b.input_scale': Uint8Array.of(0x80, 0x3f),
  'c.weight_global_scale': new Uint8Array(Float32Array.of(3).buffer),
  'c.input_global_scale': new Uint8Array(Float32Array.of(5).buffer),
};

const shard = (() => {
  const one = (name: string, dtype: OutputTensor['dtype'], ...shape: number[]): OutputTensor => ({
    name,
    dtype,
    shape,
  });
  const layout = planOutput([
    one('a.weight_packed', 'i32', 4, 4),
    one('a.weight_scale', 'f16', 4, 4),
    one('a.weight_zero_point', 'i32', 1, 4),
    one('a.weight_g_idx', 'i32', 32),
    one('a.weight_shape', 'i64', 2),
    one('b.weight', 'i8', 4, 32),
    one('b.weight_scale', 'bf16', 4, 1),
    one('b.input_scale', 'bf16', 1),
    one('b.input_zero_point', 'i8', 1),
    one('c.weight_packed', 'u8', 4, 16),
    one('c.weight_scale', 'f8_e4m3', 4, 2),
    one('c.weight_global_scale', 'f32', 1),
    one('c.input_global_scale', 'f32', 1),
    one('d.weight_packed', 'u8', 4, 16),
    one('d.weight_scale', 'u8', 4, 1),
    one(`${TRAP}.weight`, 'f8_e4m3', 4, 32),
    one(`${TRAP}.weight_scale`, 'f32', 2, 2),
    one('norm.weight', 'f32', 4),
    one('attention.k_scale', 'bf16', 1),
  ]);
  const bytes = new Uint8Array(layout.files[0]!.byteLength);
  bytes.set(layout.files[0]!.head);
  for (const [name, own] of Object.entries(filled)) bytes.set(own, layout.places.get(name)!.offset);
  return bytes;
})();

/** Opens a checkpoint under the text of a config.json and restores everything; `accepted`, or the code of the refusal. */
async function outcome(number: number, config: Uint8Array): Promise<string> {
  const files = new Map([
    ['config.json', config],
    ['model.safetensors', shard],
  ]);
  const limit = config.length + shard.length;
  let weights: Awaited<ReturnType<typeof openCheckpointFrom>>['weights'] = new Map();
  try {
    const allocated = await countAllocations(async () => {
      weights = (await openCheckpointFrom(memoryStore(files))).weights;
    });
    expect(allocated, `case ${number}`).toBeLessThanOrEqual(2 * limit + CONSTANT);
    for (const weight of weights.values()) {
      const values = await weight.toF32();
      expect(values.length, `case ${number}`).toBe(weight.shape.reduce((a, b) => a * b, 1));
      // The most that a byte can stand for: four codes of 2 bits, of four bytes each.
      expect(values.byteLength, `case ${number}`).toBeLessThanOrEqual(16 * shard.length);
    }
    return 'accepted';
  } catch (error) {
    if (isPithError(error) && error.kind === 'input' && error.message.includes(': ')) return error.code;
    throw new Error(`case ${number} ended in ${String(error)}`, { cause: error });
  }
}

const text = (config: unknown): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ model_type: 'llama', quantization_config: config }));

/** Values that a member may be given: of other kinds, too many, too long, too large, and expressions that never end. */
const HOSTILE: readonly JsonValue[] = [
  ...[null, true, false, '', 0, -1, 1, 2, 3, 8, 16, 0.5, 1e308, -0, 2 ** 31, 2 ** 53, [], {}, [[]], [null]],
  ...['int', 'float', 'tensor', 'channel', 'group', 'block', 'tensor_group', 'token', 'local', 'torch.uint8'],
  ...['pack-quantized', 'int-quantized', 'float-quantized', 'marlin-24', 'sparse-bitmask', 'dense', '0.19.0', 'x'],
  ...['128x128', '0x0', '999999x999999', [0, 0], [2 ** 40, 1], [1, 1, 1], { format: 'pack-quantized' }],
  ...['re:(a+)+$', ['re:(a+)+$', 're:(a|a)*b'], '__proto__', 'constructor', '\ud800', 'x'.repeat(5000)],
  Array<string>(3000).fill('re:(.*)*x'),
  Object.fromEntries(Array.from({ length: 1100 }, (_, i) => [`group_${i}`, {}])),
  { weights: { num_bits: 4, symmetric: false, strategy: 'group', group_size: 8 }, format: 'pack-quantized' },
];

/** A copy in which one to three members were replaced, removed, renamed or repeated. */
function hostile(value: JsonValue, random: RandomStream): JsonValue {
  const copy = structuredClone(value);
  for (let changes = 1 + random.below(2) * random.below(3); changes > 0; changes -= 1) {
    let at = copy as Record<string, JsonValue>;
    for (;;) {
      const keys = Object.keys(at);
      if (keys.length === 0) break;
      const key = keys[random.below(keys.length)]!;
      const next = at[key];
      if (typeof next === 'object' && next !== null && random.below(6) > 0) {
        at = next as Record<string, JsonValue>;
        continue;
      }
      const change = random.below(8);
      if (change === 0) Reflect.deleteProperty(at, key);
      else if (change === 1) at[`${key}_`] = at[key]!;
      else at[key] = structuredClone(HOSTILE[random.below(HOSTILE.length)]!);
      break;
    }
  }
  return copy;
}

describe('a quantization_config from strangers', () => {
  it('starts from one that opens: every layout, kv cache, columns in another order', async () => {
    const files = new Map([
      ['config.json', text(said)],
      ['model.safetensors', shard],
    ]);
    const { weights, quantization } = await openCheckpointFrom(memoryStore(files));
    expect(quantization?.kvCache).toEqual({ dtype: 'f8_e4m3', granularity: 'tensor', scales: ['attention.k_scale'] });
    expect([...weights].map(([name, { kind }]) => `${name} ${kind}`).sort()).toEqual([
      'a.weight quantized',
      `${TRAP}.weight quantized`,
      'b.weight quantized',
      'c.weight quantized',
      'd.weight quantized',
      'norm.weight dense',
    ]);
    expect(await outcome(-1, text(said))).toBe('accepted');
  });

  it.each(['constructor', '__proto__', 'toString'])('has no reader for the method %s', async (name) => {
    expect(await outcome(-1, text({ ...said, quant_method: name }))).toBe('QUANTIZATION_METHOD_UNSUPPORTED');
  });

  it('is parsed, or refused, with members of any kind', () => {
    const random = randomStream(SEED, 'members');
    const codes = new Map<string, number>();
    for (let i = 0; i < 6000; i += 1) {
      let code = 'accepted';
      const value = hostile(said, random);
      try {
        const config = readQuantizationConfig(value, 'config.json');
        expect(config.groups.length, `case ${i}`).toBeLessThanOrEqual(1024);
      } catch (error) {
        if (!isPithError(error) || error.kind !== 'input') throw new Error(`case ${i}`, { cause: error });
        // What strangers wrote is quoted in part only.
        expect(error.message.length, `case ${i}: ${error.code}`).toBeLessThan(4000);
        code = error.code;
      }
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    expect([...codes.keys()].sort()).toEqual([
      'CT_CONFIG_INVALID',
      'CT_FORMAT_UNSUPPORTED',
      'CT_METHOD_UNSUPPORTED',
      'CT_SCHEME_UNSUPPORTED',
      'accepted',
    ]);
    expect(codes.get('accepted')).toBeGreaterThan(500);
    expect(Object.prototype).toEqual({});
  });

  it('opens and restores, or is refused, with members of any kind', async () => {
    const random = randomStream(SEED, 'checkpoints');
    const codes = new Map<string, number>();
    for (let i = 0; i < 1200; i += 1) {
      const code = await outcome(i, text(hostile(said, random)));
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    expect(codes.get('accepted')).toBeGreaterThan(100);
    expect([...codes.keys()]).toEqual(
      expect.arrayContaining(['CT_CONFIG_INVALID', 'CT_SCHEME_UNSUPPORTED', 'CT_GROUP_UNKNOWN']),
    );
  });

  it('opens and restores, or is refused, with its bytes damaged', async () => {
    const random = randomStream(SEED, 'bytes');
    const codes = new Map<string, number>();
    const base = text(said);
    for (let i = 0; i < 1200; i += 1) {
      const code = await outcome(i, mutate(base, random));
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    expect(codes.get('accepted')).toBeGreaterThan(50);
    expect(codes.size).toBeGreaterThan(6);
  });
});

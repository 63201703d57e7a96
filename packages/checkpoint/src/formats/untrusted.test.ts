// Quantized checkpoints from strangers: one error for each way to be bad, and seeded mutations that open soundly or are
// refused. A failing case prints its number: the stream of the seed repeats it.
import { isPithError, randomStream, type WeightTensor } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { quantStateBytes, STATE_SUFFIX } from '../bitsandbytes/quant-state.ts';
import { openCheckpointFrom } from '../huggingface/checkpoint.ts';
import type { JsonObject } from '../json/parse-json.ts';
import { planOutput, type OutputTensor } from '../safetensors/plan-output.ts';
import { memoryStore } from '../testing/memory-store.fixture.ts';
import { mutate } from '../testing/mutate.fixture.ts';
import { codeTable } from '@pith/tensor-core';

type Contents = Readonly<
  Record<string, { dtype: OutputTensor['dtype']; shape: readonly number[]; bytes?: Uint8Array }>
>;

/** A safetensors file; tensors without bytes are zeros. */
function file(contents: Contents): Uint8Array {
  const layout = planOutput(Object.entries(contents).map(([name, { dtype, shape }]) => ({ name, dtype, shape })));
  const [planned] = layout.files;
  const bytes = new Uint8Array(planned!.byteLength);
  bytes.set(planned!.head);
  for (const [name, { bytes: own }] of Object.entries(contents))
    if (own) bytes.set(own, layout.places.get(name)!.offset);
  return bytes;
}

const words = (values: readonly number[]) => new Uint8Array(Int32Array.from(values).buffer);
const floats = (values: Float32Array) => new Uint8Array(values.buffer.slice(0));

interface Sample {
  readonly said: JsonObject;
  readonly contents: Contents;
}
const numbers = (value: number) => ({ dtype: 'i32', shape: [], bytes: words([value]) }) as const;
const letters = (text: string) => {
  const encoded = new TextEncoder().encode(text);
  return { dtype: 'u8', shape: [encoded.length], bytes: encoded } as const;
};
const pair = (rows: number, columns: bigint) => new Uint8Array(BigInt64Array.of(BigInt(rows), columns).buffer);
const state = quantStateBytes({ table: 'nf4', blockSize: 32, valueDType: 'f16', shape: [4, 12] });
const samples: Readonly<Record<string, Sample>> = {
  gptq: {
    said: { quantization_config: { quant_method: 'gptq', bits: 4, group_size: 16, desc_act: true, sym: true } },
    contents: {
      'a.qweight': { dtype: 'i32', shape: [4, 8] },
      'a.qzeros': { dtype: 'i32', shape: [2, 1], bytes: words([0x77777777, 0x77777777]) },
      'a.scales': { dtype: 'f16', shape: [2, 8] },
      'a.g_idx': { dtype: 'i32', shape: [32], bytes: words(Array.from({ length: 32 }, (_, i) => i & 1)) },
      norm: { dtype: 'f32', shape: [4] },
    },
  },
  fp8: {
    said: {
      quantization_config: {
        quant_method: 'fp8',
        fmt: 'e4m3',
        activation_scheme: 'dynamic',
        weight_block_size: [4, 8],
      },
    },
    contents: {
      'a.weight': { dtype: 'f8_e4m3', shape: [6, 16] },
      'a.weight_scale_inv': { dtype: 'f32', shape: [2, 2], bytes: floats(Float32Array.of(1, 2, 3, 4)) },
      norm: { dtype: 'f32', shape: [4] },
    },
  },
  awq: {
    said: { quantization_config: { quant_method: 'awq', bits: 4, group_size: 16, version: 'gemm' } },
    contents: {
      'a.qweight': { dtype: 'i32', shape: [32, 1] },
      'a.qzeros': { dtype: 'i32', shape: [2, 1] },
      'a.scales': { dtype: 'f16', shape: [2, 8] },
      norm: { dtype: 'f32', shape: [4] },
    },
  },
  mlx: {
    said: { quantization: { bits: 4, group_size: 32, b: { bits: 8, group_size: 32 } } },
    contents: {
      'a.weight': { dtype: 'u32', shape: [3, 8] },
      'a.scales': { dtype: 'bf16', shape: [3, 2] },
      'a.biases': { dtype: 'bf16', shape: [3, 2] },
      'b.weight': { dtype: 'u32', shape: [2, 8] },
      'b.scales': { dtype: 'f16', shape: [2, 1] },
      'b.biases': { dtype: 'f16', shape: [2, 1] },
    },
  },
  'mlx modes': {
    said: { quantization: { bits: 4, group_size: 16, mode: 'nvfp4', b: { mode: 'mxfp8' }, c: { mode: 'mxfp4' } } },
    contents: {
      'a.weight': { dtype: 'u32', shape: [3, 8] },
      'a.scales': { dtype: 'u8', shape: [3, 4] },
      'b.weight': { dtype: 'u32', shape: [2, 16] },
      'b.scales': { dtype: 'u8', shape: [2, 2] },
      'c.weight': { dtype: 'u32', shape: [2, 8] },
      'c.scales': { dtype: 'u8', shape: [2, 2] },
    },
  },
  hqq: {
    said: {
      quantization_config: {
        quant_method: 'hqq',
        quant_config: { weight_quant_params: { nbits: 4, group_size: 16, axis: 1 } },
        skip_modules: ['lm_head'],
      },
    },
    contents: {
      'a.W_q': { dtype: 'u8', shape: [2, 16] },
      'a.scale': { dtype: 'f16', shape: [4, 1] },
      'a.zero': { dtype: 'f16', shape: [4, 1] },
      'a.shape': { dtype: 'i64', shape: [2], bytes: pair(4, 16n) },
      'a.nbits': numbers(4),
      'a.group_size': numbers(16),
      'a.axis': numbers(1),
      'a.packing': letters('4bit_u8'),
      'a.compute_dtype': letters('torch.float16'),
      'a.quant_scale': { dtype: 'u8', shape: [] },
      'a.quant_zero': { dtype: 'u8', shape: [] },
      norm: { dtype: 'f32', shape: [4] },
    },
  },
  bitsandbytes: {
    said: { quantization_config: { quant_method: 'bitsandbytes', load_in_4bit: true } },
    contents: {
      'a.weight': { dtype: 'u8', shape: [24, 1] },
      'a.weight.absmax': { dtype: 'f32', shape: [2] },
      'a.weight.quant_map': { dtype: 'f32', shape: [16], bytes: floats(codeTable('nf4')) },
      [`a.weight.${STATE_SUFFIX.nf4}`]: { dtype: 'u8', shape: [state.length], bytes: state },
      'b.weight': { dtype: 'i8', shape: [2, 4] },
      'b.SCB': { dtype: 'f32', shape: [2] },
    },
  },
};

const filesOf = ({ said, contents }: Sample) =>
  new Map([
    ['config.json', new TextEncoder().encode(JSON.stringify({ model_type: 'llama', ...said }))],
    ['model.safetensors', file(contents)],
  ]);

/** Opens and restores everything. */
async function restoreAll(files: ReadonlyMap<string, Uint8Array>): Promise<WeightTensor[]> {
  const { weights } = await openCheckpointFrom(memoryStore(files));
  const size = [...files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
  for (const weight of weights.values()) {
    const values = await weight.toF32();
    if (values.length !== weight.shape.reduce((a, b) => a * b, 1)) throw new Error('wrong length');
    // The most that a byte can stand for: four codes of 2 bits, of four bytes each.
    if (values.byteLength > 16 * size) throw new Error('more values than the file can hold');
  }
  return [...weights.values()];
}

describe.each(Object.keys(samples))('%s from strangers', (format) => {
  const sample = samples[format]!;

  it('starts from a checkpoint that opens', async () => {
    const weights = await restoreAll(filesOf(sample));
    expect(weights.some(({ kind }) => kind !== 'dense')).toBe(true);
  });

  it('opens and restores, or is refused, when mutated', async () => {
    const random = randomStream(20261127, format);
    const base = filesOf(sample);
    const codes = new Map<string, number>();
    for (let i = 0; i < 1200; i += 1) {
      const name = random.below(2) === 0 ? 'config.json' : 'model.safetensors';
      let code = 'accepted';
      try {
        await restoreAll(new Map(base).set(name, mutate(base.get(name)!, random)));
      } catch (error) {
        if (!isPithError(error) || error.kind !== 'input') throw new Error(`case ${i} of ${format}`, { cause: error });
        code = error.code;
      }
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    expect(codes.get('accepted')).toBeGreaterThan(50);
    expect(codes.size).toBeGreaterThan(8);
  });
});

const quant = (format: string, more: JsonObject): Sample => {
  const { said, contents } = samples[format]!;
  const key = format.startsWith('mlx') ? 'quantization' : 'quantization_config';
  return { said: { [key]: { ...(said[key] as JsonObject), ...more } }, contents };
};
const tensor = (format: string, more: Record<string, Contents[string] | undefined>): Sample => {
  const { said, contents } = samples[format]!;
  const entries = Object.entries({ ...contents, ...more }).filter((entry) => entry[1] !== undefined);
  return { said, contents: Object.fromEntries(entries) as Contents };
};

/** Halves of 16 bits that are zeros, but for one. */
const halfAt = (count: number, at: number, bits: number) => {
  const halves = new Uint16Array(count);
  halves[at] = bits;
  return new Uint8Array(halves.buffer);
};
/** A weight of bitsandbytes whose maxima are coded again. */
const doubled = (maxima: Float32Array, map: Float32Array): Sample => {
  const nested = quantStateBytes({
    ...{ table: 'nf4', blockSize: 32, valueDType: 'f16', shape: [4, 12] },
    nested: { blockSize: 256, offset: 0.5 },
  });
  return tensor('bitsandbytes', {
    'a.weight.absmax': { dtype: 'u8', shape: [2], bytes: Uint8Array.of(0, 7) },
    'a.weight.nested_absmax': { dtype: 'f32', shape: [1], bytes: floats(maxima) },
    'a.weight.nested_quant_map': { dtype: 'f32', shape: [256], bytes: floats(map) },
    [`a.weight.${STATE_SUFFIX.nf4}`]: { dtype: 'u8', shape: [nested.length], bytes: nested },
  });
};

describe('one error for each way to be bad', () => {
  it.each<[string, Sample, string, RegExp]>([
    ['gptq: no bits', quant('gptq', { bits: null }), 'GPTQ_CONFIG_INVALID', /bits:/],
    ['gptq: a giant group', quant('gptq', { group_size: 1e9 }), 'GPTQ_CONFIG_INVALID', /group_size:/],
    ['gptq: no group', quant('gptq', { group_size: 0 }), 'GPTQ_UNSUPPORTED', /groups of 0 columns/],
    ['gptq: bits', quant('gptq', { bits: 5 }), 'GPTQ_UNSUPPORTED', /codes of 5 bits/],
    [
      'gptq: kernels',
      quant('gptq', { checkpoint_format: 'marlin' }),
      'GPTQ_UNSUPPORTED',
      /layout of a kernel \("marlin"\)/,
    ],
    ['gptq: words', quant('gptq', { pack_dtype: 'int16' }), 'GPTQ_UNSUPPORTED', /packed into int16/],
    ['gptq: other bits', quant('gptq', { bits: 8 }), 'GPTQ_TENSORS_INVALID', /hold 4 bits, config.json says 8/],
    ['gptq: other groups', quant('gptq', { group_size: 8 }), 'GPTQ_TENSORS_INVALID', /groups of 16 columns/],
    ['gptq: no zeros', tensor('gptq', { 'a.qzeros': undefined }), 'GPTQ_TENSOR_MISSING', /"a.qzeros"/],
    [
      'gptq: scales alone',
      tensor('gptq', { 'b.scales': { dtype: 'f16', shape: [1, 8] } }),
      'GPTQ_TENSOR_MISSING',
      /"b.qweight"/,
    ],
    [
      'gptq: dtype',
      tensor('gptq', { 'a.scales': { dtype: 'i8', shape: [2, 8] } }),
      'GPTQ_TENSORS_INVALID',
      /scales is i8/,
    ],
    [
      'gptq: shapes',
      tensor('gptq', { 'a.scales': { dtype: 'f16', shape: [2, 9] } }),
      'GPTQ_TENSORS_INVALID',
      /of 8 outputs/,
    ],
    [
      'gptq: a group index beyond the groups',
      tensor('gptq', { 'a.g_idx': { dtype: 'i32', shape: [32], bytes: words(Array<number>(32).fill(2)) } }),
      'GPTQ_TENSORS_INVALID',
      /groups from 0 to 1, it names 2/,
    ],
    ['gptq: order without desc_act', quant('gptq', { desc_act: false }), 'GPTQ_TENSORS_INVALID', /has no desc_act/],
    [
      'gptq: zeros of symmetric codes',
      tensor('gptq', { 'a.qzeros': { dtype: 'i32', shape: [2, 1] } }),
      'GPTQ_TENSORS_INVALID',
      /half of the range.*has 1;/,
    ],
    [
      'gptq: a scale that is no number',
      tensor('gptq', { 'a.scales': { dtype: 'f16', shape: [2, 8], bytes: halfAt(16, 13, 0x7e00) } }),
      'GPTQ_TENSORS_INVALID',
      /scales is NaN at \[1, 5\]/,
    ],
    ['awq: no bits', quant('awq', { bits: 'four' }), 'AWQ_CONFIG_INVALID', /bits:/],
    ['awq: layout', quant('awq', { version: 'gemv' }), 'AWQ_UNSUPPORTED', /layout "gemv"/],
    ['awq: bits', quant('awq', { bits: 3 }), 'AWQ_UNSUPPORTED', /codes of 3 bits/],
    ['awq: groups', quant('awq', { group_size: 8 }), 'AWQ_TENSORS_INVALID', /2 groups for 32 inputs/],
    ['awq: no scales', tensor('awq', { 'a.scales': undefined }), 'AWQ_TENSOR_MISSING', /"a.scales"/],
    [
      'awq: shapes',
      tensor('awq', { 'a.qzeros': { dtype: 'i32', shape: [3, 1] } }),
      'AWQ_TENSORS_INVALID',
      /must be of 8 outputs/,
    ],
    [
      'awq: a scale that is no number',
      tensor('awq', { 'a.scales': { dtype: 'f16', shape: [2, 8], bytes: halfAt(16, 9, 0xfc00) } }),
      'AWQ_TENSORS_INVALID',
      /scales is -Infinity at \[1, 1\]/,
    ],
    ['mlx: bits', quant('mlx', { bits: 7 }), 'MLX_UNSUPPORTED', /7 bits in groups of 32/],
    ['mlx: mode', quant('mlx', { mode: 'other' }), 'MLX_UNSUPPORTED', /mode "other"/],
    ['mlx: a module', quant('mlx', { b: { bits: '8' } }), 'MLX_CONFIG_INVALID', /bits:/],
    ['mlx: other bits', quant('mlx', { b: { bits: 4 } }), 'MLX_TENSORS_INVALID', /no 4 bits in groups of 32/],
    ['mlx: no biases', tensor('mlx', { 'a.biases': undefined }), 'MLX_TENSOR_MISSING', /"a.biases"/],
    [
      'mlx: rows',
      tensor('mlx', { 'a.biases': { dtype: 'bf16', shape: [2, 2] } }),
      'MLX_TENSORS_INVALID',
      /biases \[2, 2\] must have the shape of scales \[3, 2\]/,
    ],
    [
      'mlx: a scale that is no number',
      tensor('mlx', { 'a.scales': { dtype: 'bf16', shape: [3, 2], bytes: halfAt(6, 3, 0x7fc0) } }),
      'MLX_TENSORS_INVALID',
      /scales is NaN at \[1, 1\]/,
    ],
    [
      'mlx: a bias that is no number',
      tensor('mlx', { 'b.biases': { dtype: 'f16', shape: [2, 1], bytes: halfAt(2, 1, 0x7c00) } }),
      'MLX_TENSORS_INVALID',
      /biases is Infinity at \[1, 0\]/,
    ],
    ['mlx modes: bits', quant('mlx modes', { bits: 8 }), 'MLX_UNSUPPORTED', /nvfp4 of 8 bits in groups of 16/],
    [
      'mlx modes: scales',
      tensor('mlx modes', { 'a.scales': { dtype: 'f16', shape: [3, 4] } }),
      'MLX_TENSORS_INVALID',
      /scales is f16, not u8/,
    ],
    [
      'mlx modes: groups',
      tensor('mlx modes', { 'c.scales': { dtype: 'u8', shape: [2, 3] } }),
      'MLX_TENSORS_INVALID',
      /8 words and 3 groups of a row are no 4 bits in groups of 32/,
    ],
    [
      'mlx modes: scales that are no numbers',
      tensor('mlx modes', { 'b.scales': { dtype: 'u8', shape: [2, 2], bytes: Uint8Array.of(0, 1, 255, 2) } }),
      'MLX_TENSORS_INVALID',
      /scales is NaN at \[1, 0\]/,
    ],
    ['hqq: no configuration', quant('hqq', { quant_config: 4 }), 'HQQ_CONFIG_INVALID', /quant_config/],
    ['hqq: no zeros', tensor('hqq', { 'a.zero': undefined }), 'HQQ_TENSOR_MISSING', /"a.zero"/],
    ['hqq: zeros alone', tensor('hqq', { 'a.W_q': undefined }), 'HQQ_TENSOR_MISSING', /"a.W_q"/],
    [
      'hqq: packing',
      tensor('hqq', { 'a.packing': letters('5bit_u8') }),
      'HQQ_TENSORS_INVALID',
      /"5bit_u8" must be one/,
    ],
    ['hqq: bits', tensor('hqq', { 'a.nbits': numbers(6) }), 'HQQ_TENSORS_INVALID', /6 bits are not packed as 4bit_u8/],
    ['hqq: axis', tensor('hqq', { 'a.axis': numbers(2) }), 'HQQ_TENSORS_INVALID', /axis must be 0 or 1, it is 2/],
    [
      'hqq: groups',
      tensor('hqq', { 'a.group_size': numbers(7) }),
      'HQQ_TENSORS_INVALID',
      /groups of 7 do not divide 64/,
    ],
    [
      'hqq: dtype',
      tensor('hqq', { 'a.compute_dtype': letters('torch.int8') }),
      'HQQ_TENSORS_INVALID',
      /float of torch/,
    ],
    [
      'hqq: a word that is too long',
      tensor('hqq', { 'a.packing': { dtype: 'u8', shape: [100] } }),
      'HQQ_TENSORS_INVALID',
      /at most 64 letters/,
    ],
    [
      'hqq: a number that is none',
      tensor('hqq', { 'a.nbits': { dtype: 'i32', shape: [2] } }),
      'HQQ_TENSORS_INVALID',
      /nbits must be one i32/,
    ],
    [
      'hqq: a giant shape',
      tensor('hqq', { 'a.shape': { dtype: 'i64', shape: [2], bytes: pair(4, 2n ** 60n) } }),
      'HQQ_TENSORS_INVALID',
      /that of no matrix/,
    ],
    [
      'hqq: codes',
      tensor('hqq', { 'a.shape': { dtype: 'i64', shape: [2], bytes: pair(8, 16n) } }),
      'HQQ_TENSORS_INVALID',
      /are not those of \[8, 16\] as 4bit_u8/,
    ],
    [
      'hqq: scales',
      tensor('hqq', { 'a.scale': { dtype: 'f16', shape: [3, 1] } }),
      'HQQ_TENSORS_INVALID',
      /scale must be 4 floats/,
    ],
    [
      'hqq: coded zero points',
      tensor('hqq', { 'a.quant_zero': { dtype: 'u8', shape: [], bytes: Uint8Array.of(1) } }),
      'HQQ_UNSUPPORTED',
      /coded scales or zero points/,
    ],
    [
      'hqq: a scale that is no number',
      tensor('hqq', { 'a.scale': { dtype: 'f16', shape: [4, 1], bytes: new Uint8Array(8).fill(0xff) } }),
      'HQQ_TENSORS_INVALID',
      /scale is NaN at \[0, 0\]/,
    ],
    [
      'bitsandbytes: no state',
      tensor('bitsandbytes', { [`a.weight.${STATE_SUFFIX.nf4}`]: undefined }),
      'BNB_TENSOR_MISSING',
      /quant_state/,
    ],
    [
      'bitsandbytes: a state of another kind',
      tensor('bitsandbytes', { [`a.weight.${STATE_SUFFIX.nf4}`]: letters('[]') }),
      'BNB_TENSORS_INVALID',
      /must be JSON/,
    ],
    [
      'bitsandbytes: a giant state',
      tensor('bitsandbytes', { [`a.weight.${STATE_SUFFIX.nf4}`]: { dtype: 'u8', shape: [5000] } }),
      'BNB_TENSORS_INVALID',
      /at most 4096 bytes/,
    ],
    [
      'bitsandbytes: a block',
      tensor('bitsandbytes', {
        [`a.weight.${STATE_SUFFIX.nf4}`]: letters(
          '{"quant_type":"nf4","blocksize":3,"dtype":"float16","shape":[4,12]}',
        ),
      }),
      'BNB_CONFIG_INVALID',
      /blocksize: must be one of/,
    ],
    [
      'bitsandbytes: a shape',
      tensor('bitsandbytes', {
        [`a.weight.${STATE_SUFFIX.nf4}`]: letters(
          '{"quant_type":"nf4","blocksize":32,"dtype":"float16","shape":[4,9007199254740991]}',
        ),
      }),
      'BNB_TENSORS_INVALID',
      /not those of a shape/,
    ],
    [
      'bitsandbytes: another table',
      tensor('bitsandbytes', { 'a.weight.quant_map': { dtype: 'f32', shape: [16] } }),
      'BNB_TENSORS_INVALID',
      /quant_map says 0/,
    ],
    [
      'bitsandbytes: maxima',
      tensor('bitsandbytes', { 'a.weight.absmax': { dtype: 'f32', shape: [3] } }),
      'BNB_TENSORS_INVALID',
      /absmax must be 2/,
    ],
    [
      'bitsandbytes: a maximum that is no number',
      tensor('bitsandbytes', {
        'a.weight.absmax': { dtype: 'f32', shape: [2], bytes: floats(Float32Array.of(1, NaN)) },
      }),
      'BNB_TENSORS_INVALID',
      /absmax is NaN at \[1\]/,
    ],
    [
      'bitsandbytes: a coded maximum that is no number',
      doubled(Float32Array.of(Infinity), new Float32Array(256)),
      'BNB_TENSORS_INVALID',
      /nested_absmax is Infinity at \[0\]/,
    ],
    [
      'bitsandbytes: a code of maxima that is no number',
      doubled(Float32Array.of(1), new Float32Array(256).fill(NaN, 7)),
      'BNB_TENSORS_INVALID',
      /nested_quant_map is NaN at \[7\]/,
    ],
    [
      'bitsandbytes: a row that is no number',
      tensor('bitsandbytes', { 'b.SCB': { dtype: 'f32', shape: [2], bytes: floats(Float32Array.of(1, NaN)) } }),
      'BNB_TENSORS_INVALID',
      /SCB is NaN at \[1\]/,
    ],
    [
      'bitsandbytes: rows',
      tensor('bitsandbytes', { 'b.SCB': { dtype: 'f32', shape: [3] } }),
      'BNB_TENSORS_INVALID',
      /SCB must be f32 \[2\]/,
    ],
    [
      'another method',
      quant('gptq', { quant_method: 'eetq' }),
      'QUANTIZATION_METHOD_UNSUPPORTED',
      /"eetq".*gptq, awq, mlx, bitsandbytes, hqq, fp8 are read/,
    ],
  ])('%s', async (_, sample, code, message) => {
    const failure = await restoreAll(filesOf(sample)).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code, kind: 'input', message: expect.stringMatching(message) as string });
  });
});

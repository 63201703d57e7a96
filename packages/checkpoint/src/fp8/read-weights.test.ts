import { isPithError } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { openCheckpointFrom } from '../huggingface/checkpoint.ts';
import type { JsonObject } from '../json/parse-json.ts';
import { planOutput, type OutputTensor } from '../safetensors/plan-output.ts';
import { memoryStore } from '../testing/memory-store.fixture.ts';

type Contents = Readonly<Record<string, { dtype: OutputTensor['dtype']; shape: readonly number[]; bytes: Uint8Array }>>;

const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const SAID = { quant_method: 'fp8', fmt: 'e4m3', activation_scheme: 'dynamic', weight_block_size: [2, 3] };
// Codes of e4m3: 0x38 is 1, 0x40 is 2, 0xb8 is -1.
const CODES = Uint8Array.from([
  0x38, 0x38, 0x40, 0x38, 0xb8, 0x38, 0x38, 0x38, 0x38, 0x38, 0x38, 0x38, 0x40, 0x38, 0x38,
]);
const WEIGHT: Contents = {
  'a.weight': { dtype: 'f8_e4m3', shape: [3, 5], bytes: CODES },
  'a.weight_scale_inv': { dtype: 'f32', shape: [2, 2], bytes: floats(1, 10, 0.5, 4) },
  'norm.weight': { dtype: 'f32', shape: [2], bytes: floats(1, 2) },
};

function open(contents: Contents, said: JsonObject = SAID) {
  const layout = planOutput(Object.entries(contents).map(([name, { dtype, shape }]) => ({ name, dtype, shape })));
  const [planned] = layout.files;
  const bytes = new Uint8Array(planned!.byteLength);
  bytes.set(planned!.head);
  for (const [name, { bytes: own }] of Object.entries(contents)) bytes.set(own, layout.places.get(name)!.offset);
  const config = new TextEncoder().encode(JSON.stringify({ model_type: 'x', quantization_config: said }));
  return openCheckpointFrom(
    memoryStore(
      new Map([
        ['config.json', config],
        [planned!.name, bytes],
      ]),
    ),
  );
}

async function refusal(contents: Contents, said?: JsonObject): Promise<unknown> {
  const checkpoint = await open(contents, said);
  try {
    return [...checkpoint.weights.keys()];
  } catch (error) {
    return isPithError(error) ? `${error.code} ${error.message}` : error;
  } finally {
    await checkpoint.close();
  }
}

describe('fp8 as DeepSeek publishes it', () => {
  it('each tile of codes times its scale, smaller tiles at the edges', async () => {
    const checkpoint = await open(WEIGHT);
    const weight = checkpoint.weights.get('a.weight')!;
    expect([...(await weight.toF32())]).toEqual([1, 1, 2, 10, -10, 1, 1, 1, 10, 10, 0.5, 0.5, 1, 4, 4]);
    expect(weight).toMatchObject({
      kind: 'quantized',
      scheme: { kind: 'float', dtype: 'f8_e4m3', granularity: { kind: 'block' } },
    });
    // Tiles of 3 do not divide 5 inputs.
    expect(weight).not.toHaveProperty('activations');
    expect([...checkpoint.weights.keys()].sort()).toEqual(['a.weight', 'norm.weight']);
    expect(checkpoint.quantization?.method).toBe('fp8');
    await checkpoint.close();
  });

  it('inputs are rounded by tokens and tiles where these divide them', async () => {
    const checkpoint = await open({
      'a.weight': { dtype: 'f8_e4m3', shape: [2, 6], bytes: CODES.subarray(0, 12) },
      'a.weight_scale_inv': { dtype: 'f32', shape: [1, 2], bytes: floats(1, 2) },
    });
    expect(checkpoint.weights.get('a.weight')).toMatchObject({
      activations: { kind: 'group-dynamic', dtype: 'f8_e4m3', size: 3 },
    });
    await checkpoint.close();
  });

  const without = (name: string) => Object.fromEntries(Object.entries(WEIGHT).filter(([key]) => key !== name));

  it.each([
    [
      'codes without scales',
      without('a.weight_scale_inv'),
      SAID,
      /FP8_TENSOR_MISSING.*"a.weight".*"a.weight_scale_inv"/,
    ],
    ['scales without codes', without('a.weight'), SAID, /FP8_TENSOR_MISSING.*"a.weight_scale_inv".*"a.weight"/],
    ['static inputs', WEIGHT, { ...SAID, activation_scheme: 'static' }, /FP8_CONFIG_INVALID.*activation_scheme/],
    ['other codes', WEIGHT, { ...SAID, fmt: 'e5m2' }, /FP8_CONFIG_INVALID.*fmt/],
    ['one scale for all', WEIGHT, { ...SAID, weight_block_size: null }, /FP8_CONFIG_INVALID.*weight_block_size/],
    ['tiles of no width', WEIGHT, { ...SAID, weight_block_size: [2, 0] }, /FP8_CONFIG_INVALID.*weight_block_size/],
    ['tiles that the scales do not have', WEIGHT, { ...SAID, weight_block_size: [1, 3] }, /shape \[2, 2\]/],
  ] as const)('%s: refused by name', async (_name, contents, said, message) => {
    expect(await refusal(contents, said as unknown as JsonObject)).toMatch(message);
  });
});

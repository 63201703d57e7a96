import { describe, expect, it } from 'vitest';
import { readQuantizationConfig } from './quantization-config.ts';

const read = (groups: object) =>
  readQuantizationConfig({ quant_method: 'compressed-tensors', config_groups: groups } as never, 'config.json').groups;
const formats = {
  W4A16: 'pack-quantized',
  W8A8: 'int-quantized',
  FP8_DYNAMIC: 'float-quantized',
} as const;
const named = (name: string, format: string, more: object = {}) =>
  readQuantizationConfig(
    { quant_method: 'compressed-tensors', format, config_groups: { [name]: ['Linear'] }, ...more } as never,
    'config.json',
  ).groups;

describe('presets by name', () => {
  it('mean what they spell out', () => {
    for (const [name, weights, format] of [
      ['W4A16', { num_bits: 4, strategy: 'group', group_size: 128 }, formats.W4A16],
      ['w3a16', { num_bits: 3, strategy: 'group', group_size: 128 }, formats.W4A16],
      ['W4A16_ASYM', { num_bits: 4, strategy: 'group', group_size: 128, symmetric: false }, formats.W4A16],
      ['MXFP4A16', { num_bits: 4, type: 'float', group_size: 32, scale_dtype: 'torch.uint8' }, 'mxfp4-pack-quantized'],
    ] as const) {
      const [preset] = named(name, format);
      const [spelt] = read({ [name]: { weights, targets: ['Linear'], format } });
      expect(preset).toEqual(spelt);
    }
  });

  it('with activations', () => {
    expect(named('W8A8', 'int-quantized')[0]).toMatchObject({
      granularity: { kind: 'channel' },
      activations: { kind: 'token-dynamic', dtype: 'i8' },
    });
    expect(named('W4AFP8', 'int-quantized')[0]).toMatchObject({ bits: 4, activations: { dtype: 'f8_e4m3' } });
    expect(named('FP8', 'float-quantized')[0]).toMatchObject({ activations: { kind: 'tensor-static' } });
    expect(named('FP8_BLOCK', 'float-quantized')[0]).toMatchObject({
      granularity: { kind: 'block', rows: 128, columns: 128 },
      activations: { kind: 'group-dynamic', size: 128 },
    });
    expect(named('NVFP4', 'nvfp4-pack-quantized')[0]).toMatchObject({
      scaleDType: 'f8_e4m3',
      activations: { dtype: 'f4_e2m1', scaleDType: 'f8_e4m3' },
    });
    expect(named('MXFP8', 'mxfp8-quantized')[0]).toMatchObject({ activations: { dtype: 'f8_e4m3', size: 32 } });
    // Nothing is quantized.
    expect(named('UNQUANTIZED', 'dense')).toEqual([]);
  });

  it('that there are not, or whose activations are not followed, are refused by name', () => {
    expect(() => named('W4A2', 'pack-quantized')).toThrow(/config group "W4A2".*none of UNQUANTIZED, W4A16_ASYM/);
    expect(() => named('W8A4', 'pack-quantized')).toThrow('W8A4');
    expect(() => named('constructor', 'pack-quantized')).toThrow('constructor');
    expect(() => named('W4A4', 'int-quantized')).toThrow('4-bit activations');
  });
});

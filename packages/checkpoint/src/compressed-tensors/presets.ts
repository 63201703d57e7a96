// Schemes that a configuration may name instead of spelling them out: `"config_groups": { "W8A8": ["Linear"] }`. Names are those
// of the library, in any case.
//
// Source: compressed-tensors 0.19, `PRESET_SCHEMES` in `quantization/quant_scheme.py`; W4A4 and the like need codes of 4 bits for
// activations, which are refused further on, by name.
import type { JsonObject, JsonValue } from '../json/parse-json.ts';
import { unsupportedScheme } from './config-schema.ts';

const plain = { type: 'int', symmetric: true, dynamic: false } as const;
const perToken = (type: 'int' | 'float', bits = 8): JsonObject => ({
  num_bits: bits,
  type,
  symmetric: true,
  strategy: 'token',
  dynamic: true,
});
const fp8 = { num_bits: 8, type: 'float', symmetric: true, dynamic: false } as const;
const nvfp4 = {
  num_bits: 4,
  type: 'float',
  symmetric: true,
  strategy: 'tensor_group',
  group_size: 16,
  scale_dtype: 'torch.float8_e4m3fn',
} as const;
const micro = (bits: number): JsonObject => ({
  num_bits: bits,
  type: 'float',
  symmetric: true,
  strategy: 'group',
  group_size: 32,
  scale_dtype: 'torch.uint8',
});
const groups = (bits: number, symmetric = true): JsonObject => ({
  ...plain,
  num_bits: bits,
  symmetric,
  strategy: 'group',
  group_size: 128,
});
const perChannel: JsonObject = { ...plain, num_bits: 8, strategy: 'channel' };

const PRESETS: Readonly<Record<string, JsonObject>> = Object.freeze({
  UNQUANTIZED: {},
  W4A16_ASYM: { weights: groups(4, false) },
  W8A8: { weights: perChannel, input_activations: perToken('int') },
  INT8: { weights: perChannel, input_activations: perToken('int') },
  W4AFP8: { weights: groups(4), input_activations: perToken('float') },
  FP8: { weights: { ...fp8, strategy: 'tensor' }, input_activations: { ...fp8, strategy: 'tensor' } },
  FP8_DYNAMIC: { weights: { ...fp8, strategy: 'channel' }, input_activations: perToken('float') },
  FP8_BLOCK: {
    weights: { ...fp8, strategy: 'block', block_structure: [128, 128] },
    input_activations: { ...fp8, dynamic: true, strategy: 'group', group_size: 128 },
  },
  NVFP4A16: { weights: nvfp4 },
  NVFP4: { weights: nvfp4, input_activations: { ...nvfp4, dynamic: 'local' } },
  MXFP4A16: { weights: micro(4) },
  MXFP4: { weights: micro(4), input_activations: { ...micro(4), dynamic: true } },
  MXFP8A16: { weights: micro(8) },
  MXFP8: { weights: micro(8), input_activations: { ...micro(8), dynamic: true } },
});

/** `W4A16`: integers in groups of 128. */
const INTEGERS = /^W([2-8])A(4|8|16)$/;

/**
 * The group that a preset stands for.
 *
 * @param targets What the configuration has in the place of the group.
 * @throws PithError `CT_SCHEME_UNSUPPORTED` for a name that is none.
 */
export function presetGroup(name: string, targets: JsonValue[], file: string): JsonObject {
  const upper = name.toUpperCase();
  if (Object.hasOwn(PRESETS, upper)) return { ...PRESETS[upper], targets };
  const [, bits, inputs] = INTEGERS.exec(upper) ?? [];
  if (bits === undefined || Number(bits) > Number(inputs)) {
    throw unsupportedScheme(
      `a preset of that name, which is none of ${Object.keys(PRESETS).join(', ')}, W4A16 and the like,`,
      name,
      file,
    );
  }
  const activations = inputs === '16' ? {} : { input_activations: perToken('int', Number(inputs)) };
  return { weights: groups(Number(bits)), ...activations, targets };
}

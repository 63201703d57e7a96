// `input_activations` of a config group: how a runtime codes what it multiplies the weights with.
import type {
  ActivationQuantization,
  GroupActivations,
  PithError,
  TensorActivations,
  TokenActivations,
} from '@pith/tensor-core';
import { strategyOf, type QuantizationArgs } from './config-schema.ts';

/** An {@link ActivationQuantization} without what calibration has found, which lies in tensors. */
export type ActivationForm =
  TokenActivations | Omit<TensorActivations, 'scale' | 'zeroPoint'> | Omit<GroupActivations, 'globalScale'>;

/** The form of activations, as a config group states it. */
export function activationForm(activations: ActivationQuantization): ActivationForm {
  switch (activations.kind) {
    case 'token-dynamic':
      return activations;
    case 'tensor-static': {
      const { kind, dtype, symmetric } = activations;
      return { kind, dtype, symmetric };
    }
    case 'group-dynamic': {
      const { kind, dtype, symmetric, size, scaleDType } = activations;
      return { kind, dtype, symmetric, size, scaleDType };
    }
  }
}

/**
 * Reads how inputs are coded; undefined where they are not.
 *
 * @throws PithError what `refuse` makes of a form that is not followed.
 */
export function readActivations(
  given: QuantizationArgs | null | undefined,
  refuse: (what: string) => PithError,
): ActivationForm | undefined {
  if (given === null || given === undefined) return undefined;
  const { num_bits: bits, type, symmetric, dynamic, group_size: size, scale_dtype: scales } = given;
  const strategy = strategyOf(given);
  if (type === 'float' && !symmetric) throw refuse('floating-point activations with zero points');
  const grouped = strategy === 'group' || strategy === 'tensor_group';
  if (grouped && type === 'float' && dynamic && typeof size === 'number' && size > 0) {
    const form = { kind: 'group-dynamic', symmetric: true, size } as const;
    const micro = bits === 4 || bits === 8;
    if (micro && strategy === 'group' && scales === 'torch.uint8') {
      return { ...form, dtype: bits === 4 ? 'f4_e2m1' : 'f8_e4m3', scaleDType: 'f8_e8m0' };
    }
    if (bits === 4 && strategy === 'tensor_group' && dynamic === 'local') {
      return { ...form, dtype: 'f4_e2m1', scaleDType: 'f8_e4m3' };
    }
    if (bits === 8 && strategy === 'group' && !scales) return { ...form, dtype: 'f8_e4m3', scaleDType: 'f32' };
  }
  if (bits !== 8) throw refuse(`${bits}-bit activations with scales per ${strategy.slice(0, 40)}`);
  const dtype = type === 'int' ? 'i8' : 'f8_e4m3';
  if (dynamic === true && strategy === 'token') return { kind: 'token-dynamic', dtype, symmetric };
  if (dynamic !== true && typeof dynamic !== 'string' && strategy === 'tensor') {
    return { kind: 'tensor-static', dtype, symmetric };
  }
  throw refuse(`activations with ${dynamic ? 'dynamic' : 'static'} scales per ${strategy.slice(0, 40)}`);
}

// MLX's floating-point codes with scales of 8 bits: `mode` of its configuration, and what that says of codes and scales.
//
// | mode  | codes | columns of a group | scales |
// | ----- | ----- | ------------------ | ------ |
// | mxfp4 | e2m1  | 32                 | e8m0   |
// | mxfp8 | e4m3  | 32                 | e8m0   |
// | nvfp4 | e2m1  | 16                 | e4m3   |
//
// They are the codings of compressed-tensors but for one: nvfp4 has no global scale here, which is a global scale of 1.
//
// Source: MLX 0.32 (`mx.quantize`, `mode`), golden/mlx.
import type { FloatScheme, StoredScheme } from '@pith/tensor-core';

/** A mode. */
export interface MicroMode {
  /** As config.json has it. */
  readonly name: string;
  /** Bits of a code. */
  readonly bits: number;
  /** Columns of a group. */
  readonly groupSize: number;
  /** How weights are coded. */
  readonly scheme: FloatScheme;
}

function mode(
  name: string,
  dtype: FloatScheme['dtype'],
  size: number,
  scaleDType: FloatScheme['scaleDType'],
): MicroMode {
  const scheme = Object.freeze<FloatScheme>({ kind: 'float', dtype, granularity: { kind: 'group', size }, scaleDType });
  return Object.freeze({ name, bits: dtype === 'f4_e2m1' ? 4 : 8, groupSize: size, scheme });
}

/** All modes, by name. */
export const MICRO_MODES: Readonly<Record<string, MicroMode>> = Object.freeze({
  mxfp4: mode('mxfp4', 'f4_e2m1', 32, 'f8_e8m0'),
  mxfp8: mode('mxfp8', 'f8_e4m3', 32, 'f8_e8m0'),
  nvfp4: mode('nvfp4', 'f4_e2m1', 16, 'f8_e4m3'),
});

/** The mode that has the codes of a scheme; undefined where none has. */
export function microModeOf(scheme: StoredScheme): MicroMode | undefined {
  if (scheme.kind !== 'float' || scheme.granularity.kind !== 'group') return undefined;
  const { dtype, scaleDType, granularity } = scheme;
  return Object.values(MICRO_MODES).find(
    ({ scheme: own, groupSize }) =>
      own.dtype === dtype && own.scaleDType === scaleDType && groupSize === granularity.size,
  );
}

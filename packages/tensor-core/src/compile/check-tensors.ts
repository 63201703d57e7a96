// The check of host tensors against what a program declares: all faults at once, each with its name.
import { PithError } from '../errors/pith-error.ts';
import type { HostDType, HostTensors } from '../device/device.ts';
import { OPEN_AXIS, type ValueType } from './graph.ts';
import { sizeOf } from './onnx/onnx-types.ts';

/**
 * Checks tensors against their declarations. With `complete`, every declared one must be there.
 *
 * @throws PithError `PROGRAM_INPUT` or `PROGRAM_OUTPUT` naming every missing, unknown or ill-shaped tensor.
 */
export function checkTensors(
  program: string,
  what: 'input' | 'output',
  types: ReadonlyMap<string, ValueType>,
  tensors: HostTensors,
  complete: boolean,
): void {
  const faults: string[] = [];
  for (const [name, { dtype, shape }] of types) {
    const tensor = tensors[name];
    if (tensor === undefined) {
      if (complete) faults.push(`"${name}" is missing`);
    } else if (tensor.dtype !== dtype || !fits(tensor.shape, shape)) {
      faults.push(`"${name}" must be ${describe(dtype, shape)}, got ${describe(tensor.dtype, tensor.shape)}`);
    } else if (tensor.data.length !== sizeOf(tensor.shape)) {
      faults.push(`"${name}" must be ${describe(dtype, shape)}, got ${tensor.data.length} values`);
    }
  }
  for (const name of Object.keys(tensors)) {
    if (!types.has(name)) faults.push(`"${name}" is not an ${what} of the program`);
  }
  if (faults.length === 0) return;
  throw new PithError(
    what === 'input' ? 'PROGRAM_INPUT' : 'PROGRAM_OUTPUT',
    `program "${program}": each ${what} must have its declared dtype and shape, got: ${faults.join('; ')}`,
    { details: { program, faults } },
  );
}

const fits = (shape: readonly number[], declared: readonly number[]): boolean =>
  shape.length === declared.length &&
  shape.every((length, axis) => declared[axis] === OPEN_AXIS || length === declared[axis]);

const describe = (dtype: HostDType, shape: readonly number[]): string =>
  `${dtype} [${shape.map((length) => (length === OPEN_AXIS ? 'any' : length)).join(', ')}]`;

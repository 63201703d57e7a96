// A function over tfjs tensors becomes a program whose axes may have any length: it is traced twice, at lengths that tell what
// each length of the result is a product of, and both traces must say the same.
import { elementCount } from '../../tensor/shape.ts';
import { trace } from '../trace.ts';
import type { Signature, TensorDType, TracedFunction } from '../trace.ts';
import { pickTags } from './dims.ts';
import type { DynamicAxes, Tags } from './dims.ts';
import { dynamicProgram, requireSameProgram } from './dynamic-program.ts';
import type { DynamicProgram } from './dynamic-program.ts';

/** Shape and dtype of one input whose axes may be dynamic. */
export interface DynamicSpec {
  /** Length of each axis, or the name of a dynamic one. */
  readonly shape: readonly (number | string)[];
  /** `float32` when left out. */
  readonly dtype?: TensorDType;
}

/** What {@link traceDynamic} needs to know. */
export interface DynamicTraceOptions {
  /** The dynamic axes of the signature. */
  readonly axes: DynamicAxes;
  /** Numbers that the function makes lengths of, beside those of the signature. */
  readonly numbers?: readonly number[];
  /** Names the program in errors. */
  readonly name?: string;
}

/**
 * Traces a function into a program that runs at every length of its dynamic axes.
 *
 * What the function does must not depend on those lengths: no constant may be made of them, no loop may count them. Lengths of
 * its values are products of numbers and axes; a sum of axes is an axis of its own (`DynamicAxis.difference`).
 *
 * @throws PithError as `trace` does; `DYNAMIC_TRACE` where two traces at different lengths differ; `DYNAMIC_AXES`.
 */
export function traceDynamic(
  fn: TracedFunction<Signature>,
  signature: Readonly<Record<string, DynamicSpec>>,
  { axes, numbers = [], name = 'program' }: DynamicTraceOptions,
): DynamicProgram {
  const fixed = Object.values(signature).map(({ shape }) => shape.filter((length) => typeof length === 'number'));
  const avoid = [...new Set([...numbers, ...fixed.flat(), ...fixed.map((lengths) => elementCount(lengths, name))])];
  const at = (tags: Tags): DynamicProgram => {
    const lengths = (shape: DynamicSpec['shape']) =>
      shape.map((axis) => (typeof axis === 'string' ? tags[axis]! : axis));
    const known = Object.entries(signature).map(([input, spec]) => [input, { ...spec, shape: lengths(spec.shape) }]);
    return dynamicProgram(trace(fn, Object.fromEntries(known) as Signature, name), tags);
  };
  const first = pickTags(axes, avoid);
  const program = at(first);
  requireSameProgram(program, at(pickTags(axes, avoid, Object.values(first))));
  return program;
}

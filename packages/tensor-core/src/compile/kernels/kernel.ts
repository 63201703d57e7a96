// What a recorded kernel is: a function from graph values and tfjs attributes to graph values.
import { PithError } from '../../errors/pith-error.ts';
import type { HostDType } from '../../device/device.ts';
import type { GraphValue, OnnxGraph } from '../graph.ts';

/** Records one tfjs kernel. Inputs are by their tfjs names; kernels of a list (Concat, Pack, AddN) have `0`, `1`, ... */
export type KernelLowering = (
  graph: OnnxGraph,
  inputs: Record<string, GraphValue>,
  // tfjs types the attributes of each kernel in an interface of its own; a lowering narrows this to that interface.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  attributes: any,
) => GraphValue | readonly GraphValue[];

/** Lowerings by the name of the tfjs kernel. */
export type KernelTable = Readonly<Record<string, KernelLowering>>;

/** The graph dtype of a tfjs dtype. @throws PithError `TRACE_DTYPE` for complex64 and string. */
export function graphDType(dtype: string): HostDType {
  if (dtype === 'float32') return 'f32';
  if (dtype === 'int32') return 'i32';
  if (dtype === 'bool') return 'bool';
  throw new PithError('TRACE_DTYPE', `compile: tensors are float32, int32 or bool, got ${dtype}`, {
    details: { dtype },
  });
}

/** Refuses a dtype that tfjs itself gives no usable meaning for this kernel. */
export function requireDType(kernel: string, x: GraphValue, ...dtypes: readonly HostDType[]): void {
  if (dtypes.includes(x.dtype)) return;
  throw new PithError(
    'TRACE_KERNEL_DTYPE',
    `compile: the kernel ${kernel} takes ${dtypes.join(' or ')}, got ${x.dtype}; cast its operand first`,
    { details: { kernel, dtype: x.dtype, allowed: dtypes } },
  );
}

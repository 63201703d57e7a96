// Random weights for a model that is trained from nothing.
import { randomStream } from '@pith/tensor-core';
import type { HostTensor } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { expectedTensors } from '../architecture/expected-tensors.ts';

/** Options of {@link initialParameters}. */
export interface InitialParametersOptions {
  /** Decides every draw. */
  readonly seed: number;
  /** Standard deviation of the matrices; 0.02 when left out. */
  readonly deviation?: number;
}

/**
 * A weight for each tensor of the architecture, f32: ones for norms, zeros for biases, normal numbers for matrices. The
 * linears whose output is added to the hidden states get a deviation that is smaller by `sqrt(2 layers)`, so that the sum
 * of all blocks has the size of one (Radford et al. 2019, section 2.3).
 *
 * Each tensor draws from a stream of its own, so that a change of one leaves the others alone.
 */
export function initialParameters(
  architecture: Architecture,
  { seed, deviation = 0.02 }: InitialParametersOptions,
): Record<string, HostTensor<'f32'>> {
  const linears = architecture.blocks.flatMap((block) => block.linears);
  const added = new Set(
    linears.filter(({ role }) => role === 'attention-output' || role === 'down').map(({ name }) => name),
  );
  const biases = new Set([...linears, architecture.head].map(({ biasName }) => biasName));
  const parameters: Record<string, HostTensor<'f32'>> = {};
  for (const { name, shape } of expectedTensors(architecture)) {
    const data = new Float32Array(shape.reduce((size, length) => size * length, 1));
    if (shape.length >= 2) {
      const random = randomStream(seed, `initial ${name}`);
      const scale = added.has(name) ? deviation / Math.sqrt(2 * architecture.blocks.length) : deviation;
      for (let i = 0; i < data.length; i++) data[i] = scale * random.normal();
    } else if (!biases.has(name)) data.fill(1);
    parameters[name] = { dtype: 'f32', shape, data };
  }
  return parameters;
}

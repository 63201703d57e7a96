// A traced program as nodes of a model, its linear layers in the form in which their weights are stored.
import { emitProgram } from '@pith/tensor-core';
import type { AxisSource, DynamicNode, DynamicProgram, NodeOperands, OnnxModelBuilder } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { weightInput } from '../run/programs.ts';
import type { ModelTensors, OnnxStoredWeight } from './model-tensors.ts';
import { allLinears, LINEAR } from './trace-parts.ts';
import { writeLookup } from './write-linear.ts';

/** A model that is ready to be written. */
export interface OnnxPlan {
  /** The nodes. */
  readonly builder: OnnxModelBuilder;
  /** What becomes of each weight, in the order in which tensors are placed. */
  readonly weights: readonly OnnxStoredWeight[];
}

/** What {@link writeProgram} puts into a model. */
export interface ProgramParts {
  readonly architecture: Architecture;
  readonly program: DynamicProgram;
  readonly tensors: ModelTensors;
  /** The value of an input of the program; undefined for weights. */
  readonly inputs: (name: string) => string | undefined;
  /** Where the lengths of the dynamic axes are found. */
  readonly axes: Readonly<Record<string, AxisSource>>;
}

/** Adds the nodes of a program. @returns Names of its results by name. */
export function writeProgram(
  builder: OnnxModelBuilder,
  { architecture, program, tensors, inputs, axes }: ProgramParts,
): ReadonlyMap<string, string> {
  const linears = new Map(allLinears(architecture).map((spec) => [spec.path, spec]));
  const table = weightInput(architecture.embedding.name);
  const lower = (node: DynamicNode, { names }: NodeOperands): string | undefined => {
    if (node.domain === LINEAR.domain) {
      const { string: path } = node.attributes['path'] as { string: string };
      return tensors.linear(linears.get(path)!, names[0]!);
    }
    const [first] = node.operands;
    if (node.opType === 'Gather' && first?.kind === 'input' && first.name === table) {
      return writeLookup(builder, names[1]!, tensors.table());
    }
    return undefined;
  };
  return emitProgram(program, builder, {
    // The table is looked up by `lower` alone.
    input: (name) => inputs(name) ?? (name === table ? table : tensors.plain(name.slice(weightInput('').length))),
    axes,
    lower,
  });
}

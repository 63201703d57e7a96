// A program with dynamic axes as the nodes of an ONNX model. Shapes that are known when the model runs are put together of the
// lengths of its inputs; a reshape needs that only where it has more than one length to find.
import { PithError } from '../../errors/pith-error.ts';
import type { OnnxModelBuilder } from '../onnx/model-builder.ts';
import { MICROSOFT_DOMAIN, hostArray } from '../onnx/onnx-types.ts';
import { isSymbolic, sameDim } from './dims.ts';
import type { Dim, SymbolicDim } from './dims.ts';
import type { DynamicNode, DynamicProgram, DynamicType, Operand } from './dynamic-program.ts';

/** Where a model finds the length of a dynamic axis. */
export interface AxisSource {
  /** Name of a value of the model. */
  readonly value: string;
  /** Axis of the value. */
  readonly axis: number;
}

/** Names and types of the operands of a node, for whoever writes it in another way. */
export interface NodeOperands {
  /** Names in the model; undefined where one is left out. */
  readonly names: readonly (string | undefined)[];
  /** Their types. */
  readonly types: readonly (DynamicType | undefined)[];
}

/** How {@link emitProgram} writes a program. */
export interface EmitOptions {
  /** Names in the model of the inputs that the program reads; what is asked for the first time may be written then. */
  readonly input: (name: string) => string;
  /** Where the lengths of the dynamic axes are found. */
  readonly axes: Readonly<Record<string, AxisSource>>;
  /** Writes a node in a way of its own and names its result; undefined for nodes that are written as they are. */
  readonly lower?: (node: DynamicNode, operands: NodeOperands) => string | undefined;
}

/**
 * Adds the nodes of a program to a model.
 *
 * @returns Names of the values that are the program's outputs.
 * @throws PithError `DYNAMIC_SHAPE` for a node whose shape cannot be said while the model runs.
 */
export function emitProgram(
  program: DynamicProgram,
  builder: OnnxModelBuilder,
  { input, axes, lower }: EmitOptions,
): ReadonlyMap<string, string> {
  const shapes = new ShapeWriter(program.name, builder, axes);
  const values = new Map<number, string>();
  const nameOf = (operand: Operand): string | undefined => {
    if (operand.kind === 'none') return undefined;
    if (operand.kind === 'value') return values.get(operand.id)!;
    if (operand.kind === 'input') return input(operand.name);
    if (operand.kind === 'extents') return shapes.vector(operand.dims);
    return constantName(operand, builder, shapes);
  };
  for (const node of program.nodes) {
    const types = node.operands.map((operand) => ('type' in operand ? operand.type : undefined));
    const reshaped = reshapeTarget(node);
    const names = node.operands.map((operand, i) =>
      reshaped !== undefined && i === 1 ? shapes.vector(reshaped) : nameOf(operand),
    );
    const lowered = lower?.(node, { names, types }) ?? withoutFusedProduct(node, names, types, builder);
    if (lowered !== undefined) {
      values.set(node.outputs[0]!.id, lowered);
      continue;
    }
    const { opType, attributes, domain, outputs } = node;
    // Nodes with one result share a name with their like; those with more are named here.
    const given = outputs.length === 1 ? {} : { outputs: outputs.map(({ id }) => `${opType}_${id}`) };
    const results = builder.node(opType, names, { attributes, domain, ...given });
    outputs.forEach(({ id }, i) => values.set(id, results[i]!));
  }
  return new Map([...program.outputs].map(([name, operand]) => [name, nameOf(operand)!]));
}

/** Writes vectors of lengths, each distinct one once. */
class ShapeWriter {
  readonly #program: string;
  readonly #builder: OnnxModelBuilder;
  readonly #axes: Readonly<Record<string, AxisSource>>;

  constructor(program: string, builder: OnnxModelBuilder, axes: Readonly<Record<string, AxisSource>>) {
    this.#program = program;
    this.#builder = builder;
    this.#axes = axes;
  }

  /** An int64 vector. */
  vector(dims: readonly Dim[]): string {
    if (!dims.some(isSymbolic)) return this.#builder.ints(dims as readonly number[]);
    const parts: (string | number[])[] = [];
    for (const dim of dims) {
      const last = parts.at(-1);
      if (isSymbolic(dim)) parts.push(this.#length(dim));
      else if (Array.isArray(last)) last.push(dim);
      else parts.push([dim]);
    }
    const names = parts.map((part) => (typeof part === 'string' ? part : this.#builder.ints(part)));
    return names.length === 1 ? names[0]! : this.#builder.op('Concat', names, { attributes: { axis: { int: 0 } } });
  }

  #length({ factor, axes }: SymbolicDim): string {
    const factors = axes.map((name) => {
      const source = this.#axes[name];
      if (source === undefined) {
        throw new PithError(
          'DYNAMIC_SHAPE',
          `write "${this.#program}": the length of ${name} is found nowhere in the model`,
          {
            kind: 'internal',
            details: { program: this.#program, axis: name },
          },
        );
      }
      const { value, axis } = source;
      return this.#builder.op('Shape', [value], { attributes: { start: { int: axis }, end: { int: axis + 1 } } });
    });
    if (factor !== 1) factors.push(this.#builder.ints([factor]));
    return factors.reduce((product, next) => this.#builder.op('Mul', [product, next]));
  }
}

/**
 * The vector that a reshape or an expansion needs: lengths that stay where they were are 0 (or 1, which an expansion leaves
 * alone), and one unknown length of a reshape is -1. Undefined for other nodes.
 */
function reshapeTarget({ opType, domain, operands, outputs }: DynamicNode): readonly Dim[] | undefined {
  const [x, target] = operands;
  if (domain !== '' || target?.kind !== 'extents' || x === undefined || !('type' in x)) return undefined;
  const from = x.type.dims;
  const to = outputs[0]!.type.dims;
  if (opType === 'Expand') {
    const lead = to.length - from.length;
    return to.map((dim, i) => (isSymbolic(dim) && sameDim(dim, from[i - lead]) ? 1 : dim));
  }
  if (opType !== 'Reshape' || to.some((dim) => dim === 0)) return undefined;
  const kept = to.map((dim, i): Dim => (isSymbolic(dim) && sameDim(dim, from[i]) ? 0 : dim));
  const unknown = kept.filter(isSymbolic);
  return unknown.length === 1 ? kept.map((dim) => (isSymbolic(dim) ? -1 : dim)) : kept;
}

function constantName(operand: Operand & { kind: 'constant' }, builder: OnnxModelBuilder, shapes: ShapeWriter): string {
  const { type, data, splat } = operand;
  if (!splat) return builder.constant(type.dtype, type.dims as readonly number[], data);
  const one = builder.constant(type.dtype, [], data);
  if (type.dims.length === 0) return one;
  if (type.dims.every((dim) => !isSymbolic(dim)) && (type.dims as number[]).reduce((a, b) => a * b, 1) <= 16) {
    const size = (type.dims as number[]).reduce((a, b) => a * b, 1);
    const full = hostArray(type.dtype, size) as Float32Array;
    return builder.constant(type.dtype, type.dims as readonly number[], full.fill(data[0] as number));
  }
  return builder.op('Expand', [one, shapes.vector(type.dims)]);
}

// ONNX Runtime alone has FusedMatMul, and not on every device; it makes one of these two nodes by itself where it can.
function withoutFusedProduct(
  { opType, domain, attributes }: DynamicNode,
  names: readonly (string | undefined)[],
  types: readonly (DynamicType | undefined)[],
  builder: OnnxModelBuilder,
): string | undefined {
  if (opType !== 'FusedMatMul' || domain !== MICROSOFT_DOMAIN) return undefined;
  const flag = (name: string): number => (attributes[name] as { int?: number } | undefined)?.int ?? 0;
  const alpha = (attributes['alpha'] as { float?: number } | undefined)?.float ?? 1;
  const [a, b] = [0, 1].map((i) => {
    const rank = types[i]!.dims.length;
    if (flag(i === 0 ? 'transA' : 'transB') === 0) return names[i]!;
    const perm = Array.from({ length: rank }, (_, axis) => (axis < rank - 2 ? axis : 2 * rank - 3 - axis));
    return builder.op('Transpose', [names[i]], { attributes: { perm: { ints: perm } } });
  });

  const scaled = alpha === 1 ? a : builder.op('Mul', [a, builder.float(alpha)]);
  return builder.op('MatMul', [scaled, b]);
}

// A traced graph with its dynamic axes read out of it: every length is a number or a product of axes, and the vectors that
// operators take shapes from say which. Two traces at different lengths give the same program, or the program depends on the
// lengths in a way that no shape can carry.
import { PithError } from '../../errors/pith-error.ts';
import type { HostArrays, HostDType } from '../../device/device.ts';
import { bytesOf } from '../graph.ts';
import type { Attributes, GraphNode, GraphValue, OnnxGraph } from '../graph.ts';
import { sizeOf } from '../onnx/onnx-types.ts';
import { dimOf, dimText, isSymbolic } from './dims.ts';
import type { Dim, Tags } from './dims.ts';

/** Dtype and shape of a value. */
export interface DynamicType {
  /** Type of one element. */
  readonly dtype: HostDType;
  /** Length of each axis, outermost first. */
  readonly dims: readonly Dim[];
}

/** What a node reads: a value of another node, an input, or something known. */
export type Operand =
  | {
      /** An operand that was left out. */
      readonly kind: 'none';
    }
  | {
      /** A result of a node. */
      readonly kind: 'value';
      /** Its number. */
      readonly id: number;
      /** Its type. */
      readonly type: DynamicType;
    }
  | {
      /** An input of the program. */
      readonly kind: 'input';
      /** Its name. */
      readonly name: string;
      /** Its type. */
      readonly type: DynamicType;
    }
  | {
      /** Numbers. */
      readonly kind: 'constant';
      /** Their type. */
      readonly type: DynamicType;
      /** All elements, or the one that all are. */
      readonly data: HostArrays[HostDType];
      /** True where all elements are the one in `data`. */
      readonly splat: boolean;
    }
  | {
      /** A shape, or a place in one. */
      readonly kind: 'extents';
      /** Its lengths. */
      readonly dims: readonly Dim[];
    };

/** One application of an operator. */
export interface DynamicNode {
  /** Name of the operator. */
  readonly opType: string;
  /** Empty for the default domain. */
  readonly domain: string;
  /** Constants of this application. */
  readonly attributes: Attributes;
  /** In the order of the operator. */
  readonly operands: readonly Operand[];
  /** Numbers and types of the results. */
  readonly outputs: readonly {
    /** Number of the value. */
    readonly id: number;
    /** Its type. */
    readonly type: DynamicType;
  }[];
}

/** A program over values whose axes may be dynamic. */
export interface DynamicProgram {
  /** Names it in errors. */
  readonly name: string;
  /** Types of all inputs that were declared. */
  readonly inputs: ReadonlyMap<string, DynamicType>;
  /** In topological order. */
  readonly nodes: readonly DynamicNode[];
  /** Results by name. */
  readonly outputs: ReadonlyMap<string, Operand>;
}

/** Operands that hold a shape or a place in one, by operator. */
const EXTENTS: Readonly<Record<string, readonly number[]>> = {
  Reshape: [1],
  Expand: [1],
  Tile: [1],
  Slice: [1, 2],
  Pad: [1],
};

/** Reads the dynamic axes out of a graph that was traced with `tags` as their lengths. */
export function dynamicProgram(graph: OnnxGraph, tags: Tags): DynamicProgram {
  const ids = new Map<number, number>();
  const typeOf = ({ dtype, shape }: GraphValue): DynamicType => ({ dtype, dims: shape.map((n) => dimOf(n, tags)) });
  const extents = (value: GraphValue): Operand => {
    const { data, splat, shape } = value;
    const list = Array.from({ length: sizeOf(shape) }, (_, i) => Number(data![splat ? 0 : i]));
    return { kind: 'extents', dims: list.map((n) => dimOf(n, tags)) };
  };
  const operand = (value: GraphValue | undefined): Operand => {
    if (value === undefined) return { kind: 'none' };
    const type = typeOf(value);
    if (value.input !== undefined) return { kind: 'input', name: value.input, type };
    if (value.data === undefined) return { kind: 'value', id: ids.get(value.id)!, type };
    if (value.splat !== true && type.dims.some(isSymbolic))
      throw dependsOn(graph.name, `a constant of shape [${type.dims.map(dimText).join(', ')}]`);
    return { kind: 'constant', type, data: value.data, splat: value.splat ?? false };
  };
  const nodes = graph.live().nodes.map((node: GraphNode): DynamicNode => {
    const places = node.domain === '' ? (EXTENTS[node.opType] ?? []) : [];
    const operands = node.inputs.map((value, i) =>
      value?.data && places.includes(i) ? extents(value) : operand(value),
    );
    const outputs = node.outputs.map((value) => {
      ids.set(value.id, ids.size);
      return { id: ids.size - 1, type: typeOf(value) };
    });
    return { opType: node.opType, domain: node.domain, attributes: node.attributes, operands, outputs };
  });
  return {
    name: graph.name,
    inputs: new Map([...graph.inputs].map(([name, value]) => [name, typeOf(value)])),
    nodes,
    outputs: new Map([...graph.outputs].map(([name, value]) => [name, operand(value)])),
  };
}

/**
 * Refuses programs that are not the same: the function that was traced does something else at other lengths.
 *
 * @throws PithError `DYNAMIC_TRACE` naming the first difference.
 */
export function requireSameProgram(first: DynamicProgram, second: DynamicProgram): void {
  const a = first.nodes.map(nodeText);
  const b = second.nodes.map(nodeText);
  const at = Array.from({ length: Math.max(a.length, b.length) }, (_, i) => i).find((i) => a[i] !== b[i]);
  if (at !== undefined) throw dependsOn(first.name, `node ${at}: ${a[at] ?? 'none'} and ${b[at] ?? 'none'}`);
  for (const [name, result] of first.outputs) {
    const [x, y] = [operandText(result), operandText(second.outputs.get(name)!)];
    if (x !== y) throw dependsOn(first.name, `the output ${name}: ${x} and ${y}`);
  }
}

function dependsOn(program: string, what: string): PithError {
  return new PithError(
    'DYNAMIC_TRACE',
    `trace "${program}": its operations must not depend on the lengths of dynamic axes, got ${what}`,
    { kind: 'internal', details: { program, what } },
  );
}

function nodeText({ opType, domain, attributes, operands, outputs }: DynamicNode): string {
  const given = operands.map(operandText).join(', ');
  const results = outputs.map(({ id, type }) => `v${id} ${typeText(type)}`).join(', ');
  return `${domain}:${opType}(${given}) ${attributesText(attributes)} -> ${results}`;
}

function attributesText(attributes: Attributes): string {
  return Object.entries(attributes)
    .map(([name, value]) => `${name}=${Object.values(value).map(String).join()}`)
    .join(' ');
}

function operandText(operand: Operand): string {
  if (operand.kind === 'none') return '-';
  if (operand.kind === 'extents') return `[${operand.dims.map(dimText).join(', ')}]`;
  if (operand.kind === 'input') return operand.name;
  if (operand.kind === 'value') return `v${operand.id}`;
  const { type, data, splat } = operand;
  return `${typeText(type)}${splat ? 'of ' : ' '}${data.length <= 8 ? Array.from(data as Float32Array).join() : digest(data)}`;
}

const typeText = ({ dtype, dims }: DynamicType): string => `${dtype}[${dims.map(dimText).join(', ')}]`;

// Two hashes of 32 bits: constants of a program are few.
function digest(data: ArrayBufferView): string {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  for (const byte of bytesOf(data)) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b + byte, 0x5bd1e995) ^ (b >>> 15);
  }
  return `${data.byteLength}:${a >>> 0}:${b >>> 0}`;
}

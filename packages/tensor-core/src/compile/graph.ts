// The graph that a trace fills and that linear algebra writes by hand: values with static shapes, nodes named after ONNX
// operators. It removes common subexpressions while it grows, keeps each distinct constant once, and forgets what no
// output needs when it is written. Rewrites that need to know an operator lie with the operators (lower/).
import { PithError } from '../errors/pith-error.ts';
import type { HostArrays, HostDType } from '../device/device.ts';
import { BYTES, hostArray, sizeOf } from './onnx/onnx-types.ts';

/** An attribute of a node, tagged with its ONNX kind. */
export type Attribute =
  | {
      /** A whole number. */
      readonly int: number;
    }
  | {
      /** A number, written as f32. */
      readonly float: number;
    }
  | {
      /** Text, written as UTF-8. */
      readonly string: string;
    }
  | {
      /** Whole numbers. */
      readonly ints: readonly number[];
    }
  | {
      /** Numbers, written as f32. */
      readonly floats: readonly number[];
    };

/** Attributes by name. */
export type Attributes = Readonly<Record<string, Attribute>>;

/** Dtype and shape of a value. */
export interface ValueType {
  /** Type of one element. */
  readonly dtype: HostDType;
  /** Length of each axis, outermost first; `[]` is a scalar. {@link OPEN_AXIS} in graphs written by hand alone. */
  readonly shape: readonly number[];
}

/** An axis whose length each run decides: one program then serves all shapes. For graphs written by hand; nothing is inferred. */
export const OPEN_AXIS = -1;

/** One application of an operator. */
export interface GraphNode {
  /** Name of the operator: `MatMul`. */
  readonly opType: string;
  /** Empty for the default domain. */
  readonly domain: string;
  /** `undefined` where an optional input is left out. */
  readonly inputs: readonly (GraphValue | undefined)[];
  /** Constants of this application, by the operator's names. */
  readonly attributes: Attributes;
  /** In the order of the operator's outputs. */
  readonly outputs: readonly GraphValue[];
}

/**
 * A tensor of the graph: an input, a constant or an output of a node.
 *
 * A constant whose elements are all equal is kept as one value (`splat`), however large its shape.
 */
export interface GraphValue extends ValueType {
  /** Unique in its graph, in order of creation. */
  readonly id: number;
  /** Present for graph inputs. */
  readonly input?: string;
  /** Present for constants: `product(shape)` values, or one value when `splat`. */
  readonly data?: HostArrays[HostDType];
  /** The constant's single value stands for all elements. */
  readonly splat?: boolean;
  /** Present for outputs of nodes. */
  readonly node?: GraphNode;
}

/** What a graph amounts to. */
export interface GraphStats {
  /** Nodes that some output needs. */
  readonly nodes: number;
  /** Nodes by operator. */
  readonly operators: Readonly<Record<string, number>>;
  /** Constants that some output needs. */
  readonly constants: number;
  /** Their bytes as written. */
  readonly constantBytes: number;
}

/** Nodes, inputs and constants in topological order, restricted to what the outputs need. */
export interface LiveGraph {
  /** Each after those that it reads from. */
  readonly nodes: readonly GraphNode[];
  /** In order of creation. */
  readonly constants: readonly GraphValue[];
}

/** A growing ONNX graph with static shapes (and, written by hand, {@link OPEN_AXIS}). */
export class OnnxGraph {
  /** Names the graph in errors and in the written model. */
  readonly name: string;
  readonly #inputs = new Map<string, GraphValue>();
  readonly #outputs = new Map<string, GraphValue>();
  readonly #nodes: GraphNode[] = [];
  readonly #known = new Map<string, readonly GraphValue[]>();
  readonly #constants = new Map<string, GraphValue[]>();
  #nextId = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Inputs by name, in order of declaration. */
  get inputs(): ReadonlyMap<string, GraphValue> {
    return this.#inputs;
  }

  /** Outputs by name, in order of declaration. */
  get outputs(): ReadonlyMap<string, GraphValue> {
    return this.#outputs;
  }

  /** Declares an input. @throws PithError `GRAPH_DUPLICATE_NAME` */
  input(name: string, dtype: HostDType, shape: readonly number[]): GraphValue {
    if (this.#inputs.has(name)) throw duplicate(this.name, 'an input', name);
    const value: GraphValue = { id: this.#nextId++, dtype, shape: [...shape], input: name };
    this.#inputs.set(name, value);
    return value;
  }

  /** Declares an output. @throws PithError `GRAPH_DUPLICATE_NAME` */
  output(name: string, value: GraphValue): void {
    if (this.#outputs.has(name) || this.#inputs.has(name)) throw duplicate(this.name, 'an output', name);
    this.#outputs.set(name, value);
  }

  /**
   * A constant of `product(shape)` values. Equal constants become one value. The array is kept, not copied: it must not
   * change before the graph is written.
   */
  constant<D extends HostDType>(dtype: D, shape: readonly number[], data: HostArrays[D]): GraphValue {
    if (data.length > 0 && isUniform(data)) return this.#constant(dtype, shape, firstOf(dtype, data), true);
    return this.#constant(dtype, shape, data, false);
  }

  /** A constant of equal elements, held as one value. */
  splat(dtype: HostDType, shape: readonly number[], value: number): GraphValue {
    const data = hostArray(dtype, 1);
    if (data instanceof BigInt64Array) data[0] = BigInt(value);
    else data[0] = value;
    return this.#constant(dtype, shape, data, true);
  }

  /** A 0-d constant. */
  scalar(dtype: HostDType, value: number): GraphValue {
    return this.splat(dtype, [], value);
  }

  /** A constant vector of int64, as shapes, axes and pads are given to ONNX operators. */
  ints(values: readonly number[]): GraphValue {
    return this.constant('i64', [values.length], BigInt64Array.from(values, BigInt));
  }

  /** Applies an operator with several outputs. An application seen before is not repeated. */
  node(
    opType: string,
    inputs: readonly (GraphValue | undefined)[],
    outputs: readonly ValueType[],
    attributes: Attributes = {},
    domain = '',
  ): readonly GraphValue[] {
    const key = `${domain}:${opType}(${inputs.map((value) => value?.id ?? '').join()})${attributesKey(attributes)}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const values: GraphValue[] = [];
    const node: GraphNode = { opType, domain, inputs, attributes, outputs: values };
    for (const { dtype, shape } of outputs) values.push({ id: this.#nextId++, dtype, shape: [...shape], node });
    this.#nodes.push(node);
    this.#known.set(key, values);
    return values;
  }

  /** Applies an operator with one output. */
  op(
    opType: string,
    inputs: readonly (GraphValue | undefined)[],
    output: ValueType,
    attributes: Attributes = {},
    domain = '',
  ): GraphValue {
    return this.node(opType, inputs, [output], attributes, domain)[0]!;
  }

  /** What the outputs need, in topological order. */
  live(): LiveGraph {
    const needed = new Set<GraphNode>();
    const constants = new Map<number, GraphValue>();
    const stack: GraphValue[] = [...this.#outputs.values()];
    while (stack.length > 0) {
      const value = stack.pop()!;
      if (value.data !== undefined) constants.set(value.id, value);
      if (value.node === undefined || needed.has(value.node)) continue;
      needed.add(value.node);
      for (const input of value.node.inputs) if (input !== undefined) stack.push(input);
    }
    return {
      nodes: this.#nodes.filter((node) => needed.has(node)),
      constants: [...constants.values()].sort((a, b) => a.id - b.id),
    };
  }

  /** Counts of what the outputs need. */
  stats(): GraphStats {
    const { nodes, constants } = this.live();
    const operators: Record<string, number> = {};
    for (const { opType } of nodes) operators[opType] = (operators[opType] ?? 0) + 1;
    let constantBytes = 0;
    for (const { dtype, data } of constants) constantBytes += data!.length * BYTES[dtype];
    return { nodes: nodes.length, operators, constants: constants.length, constantBytes };
  }

  #constant(dtype: HostDType, shape: readonly number[], data: HostArrays[HostDType], splat: boolean): GraphValue {
    const length = splat ? 1 : sizeOf(shape);
    if (data.length !== length) {
      throw new PithError(
        'GRAPH_CONSTANT_LENGTH',
        `graph "${this.name}": a constant of shape [${shape.join()}] has ${length} values, got ${data.length}`,
        { kind: 'internal', details: { graph: this.name, shape, length: data.length } },
      );
    }
    const key = `${dtype}[${shape.join()}]${splat ? 's' : ''}${contentHash(data)}`;
    let twins = this.#constants.get(key);
    if (twins === undefined) this.#constants.set(key, (twins = []));
    const twin = twins.find((other) => sameBytes(other.data!, data));
    if (twin !== undefined) return twin;
    const value: GraphValue = { id: this.#nextId++, dtype, shape: [...shape], data, splat };
    twins.push(value);
    return value;
  }
}

function duplicate(graph: string, kind: string, name: string): PithError {
  return new PithError(
    'GRAPH_DUPLICATE_NAME',
    `graph "${graph}": inputs and outputs share one set of names, got "${name}" again as ${kind}`,
    {
      details: { graph, name },
    },
  );
}

// Not JSON: that writes both infinities and NaN as null.
function attributesKey(attributes: Attributes): string {
  return Object.entries(attributes)
    .map(([name, value]) => {
      const [kind, content] = Object.entries(value)[0] as [string, unknown];
      return `${name}=${kind}:${Object.is(content, -0) ? '-0' : String(content)}`;
    })
    .join(';');
}

/** The bytes of an array, without a copy. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

// Bit patterns are compared, so that NaN equals itself and -0 differs from 0.
function isUniform(data: HostArrays[HostDType]): boolean {
  if (data.length === 1) return true;
  const first = data[0];
  if (data[1] !== first || first !== first) return false;
  for (let i = 2; i < data.length; i++) if (data[i] !== first) return false;
  return first !== 0 || !hasNegativeZero(data);
}

function hasNegativeZero(data: HostArrays[HostDType]): boolean {
  if (data instanceof BigInt64Array) return false;
  for (let i = 0; i < data.length; i++) if (Object.is(data[i], -0)) return true;
  return false;
}

function firstOf(dtype: HostDType, data: HostArrays[HostDType]): HostArrays[HostDType] {
  const one = hostArray(dtype, 1);
  one[0] = data[0]!;
  return one;
}

// FNV-1a over the bytes of small arrays, over at most 4096 samples of large ones: equality is decided by sameBytes.
function contentHash(data: HostArrays[HostDType]): number {
  const bytes = bytesOf(data);
  const step = bytes.length <= 4096 ? 1 : Math.floor(bytes.length / 4096);
  let hash = 0x811c9dc5 ^ bytes.length;
  for (let i = 0; i < bytes.length; i += step) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash >>> 0;
}

function sameBytes(a: HostArrays[HostDType], b: HostArrays[HostDType]): boolean {
  if (a === b) return true;
  const x = bytesOf(a);
  const y = bytesOf(b);
  if (x.length !== y.length) return false;
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return false;
  return true;
}

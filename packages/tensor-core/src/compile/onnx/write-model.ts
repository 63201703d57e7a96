// Turns a graph into the bytes of an ONNX model. Constants lie inside the model, so it must stay under protobuf's 2 GiB.
import { create, toBinary } from '@bufbuild/protobuf';
import { PithError } from '../../errors/pith-error.ts';
import type { HostDType } from '../../device/device.ts';
import { bytesOf, OPEN_AXIS } from '../graph.ts';
import type { Attribute, GraphNode, GraphValue, OnnxGraph } from '../graph.ts';
import type { AttributeProto, NodeProto, TensorProto, ValueInfoProto } from './onnx_pb.ts';
import {
  AttributeProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from './onnx_pb.ts';
import {
  ATTRIBUTE_TYPE,
  IR_VERSION,
  MICROSOFT_DOMAIN,
  ONNX_TYPE,
  OPEN_AXIS_PREFIX,
  OPSET,
  hostArrayType,
  sizeOf,
} from './onnx-types.ts';

/** Most bytes of constants in one model: protobuf's limit less room for the nodes. */
export const MAX_CONSTANT_BYTES = 2 ** 31 - 2 ** 24;

// Splats of up to this many values are written out; larger ones are expanded by a node when the program is loaded.
const SPLAT_WRITTEN = 256;

const utf8 = new TextEncoder();

/**
 * The bytes of an ONNX ModelProto (IR version 10, operator set 21, com.microsoft 1).
 *
 * @throws PithError `GRAPH_TOO_LARGE` when the constants would pass protobuf's 2 GiB.
 */
export function writeModel(graph: OnnxGraph): Uint8Array<ArrayBuffer> {
  const { nodes, constants } = graph.live();
  const { constantBytes } = graph.stats();
  if (constantBytes > MAX_CONSTANT_BYTES) {
    throw new PithError(
      'GRAPH_TOO_LARGE',
      `graph "${graph.name}": constants must stay under ${MAX_CONSTANT_BYTES} bytes, got ${constantBytes}; ` +
        'give large weights as inputs of the program instead',
      { details: { graph: graph.name, constantBytes, limit: MAX_CONSTANT_BYTES } },
    );
  }
  const names = new NameTable(graph);
  const written: NodeProto[] = [];
  const initializers: TensorProto[] = [];
  for (const value of constants) writeConstant(value, names, written, initializers);
  for (const node of nodes) written.push(writeNode(node, names));
  for (const [name, value] of graph.outputs) {
    if (names.of(value) !== name) written.push(nodeProto('Identity', '', [names.of(value)], [name], []));
  }
  const usesMicrosoft = nodes.some(({ domain }) => domain === MICROSOFT_DOMAIN);
  const model = create(ModelProtoSchema, {
    irVersion: BigInt(IR_VERSION),
    producerName: 'pith',
    opsetImport: [
      { domain: '', version: BigInt(OPSET) },
      ...(usesMicrosoft ? [{ domain: MICROSOFT_DOMAIN, version: 1n }] : []),
    ],
    graph: {
      name: graph.name,
      node: written,
      initializer: initializers,
      input: [...graph.inputs].map(([name, value]) => valueInfo(name, value)),
      output: [...graph.outputs].map(([name, value]) => valueInfo(name, value)),
    },
  });
  return toBinary(ModelProtoSchema, model);
}

// Names of values: the declared ones for inputs and outputs, generated ones that collide with none of these otherwise.
class NameTable {
  readonly #names = new Map<number, string>();
  readonly #taken: Set<string>;

  constructor(graph: OnnxGraph) {
    this.#taken = new Set([...graph.inputs.keys(), ...graph.outputs.keys()]);
    for (const [name, value] of graph.inputs) this.#names.set(value.id, name);
    for (const [name, value] of graph.outputs) {
      if (value.node !== undefined && !this.#names.has(value.id)) this.#names.set(value.id, name);
    }
  }

  of(value: GraphValue): string {
    let name = this.#names.get(value.id);
    if (name === undefined) {
      name = this.fresh(`v${value.id}`);
      this.#names.set(value.id, name);
    }
    return name;
  }

  fresh(wish: string): string {
    let name = wish;
    while (this.#taken.has(name)) name = `${name}_`;
    this.#taken.add(name);
    return name;
  }
}

function writeConstant(value: GraphValue, names: NameTable, nodes: NodeProto[], initializers: TensorProto[]): void {
  const { dtype, shape, data } = value;
  const size = sizeOf(shape);
  const name = names.of(value);
  if (!value.splat || size === 1) {
    initializers.push(tensorProto(name, dtype, shape, bytesOf(data!)));
  } else if (size <= SPLAT_WRITTEN) {
    const full = new (hostArrayType(dtype))(size);
    (full as Float32Array).fill(data![0] as number);
    initializers.push(tensorProto(name, dtype, shape, bytesOf(full)));
  } else {
    const one = names.fresh(`${name}_one`);
    const to = names.fresh(`${name}_shape`);
    initializers.push(tensorProto(one, dtype, [], bytesOf(data!)));
    initializers.push(tensorProto(to, 'i64', [shape.length], bytesOf(BigInt64Array.from(shape, BigInt))));
    nodes.push(nodeProto('Expand', '', [one, to], [name], []));
  }
}

function tensorProto(name: string, dtype: HostDType, shape: readonly number[], rawData: Uint8Array): TensorProto {
  return create(TensorProtoSchema, { name, dataType: ONNX_TYPE[dtype], dims: shape.map(BigInt), rawData });
}

function writeNode(node: GraphNode, names: NameTable): NodeProto {
  const inputs = node.inputs.map((value) => (value === undefined ? '' : names.of(value)));
  const outputs = node.outputs.map((value) => names.of(value));
  const attributes = Object.entries(node.attributes).map(([name, value]) => attributeProto(name, value));
  return nodeProto(node.opType, node.domain, inputs, outputs, attributes);
}

function nodeProto(
  opType: string,
  domain: string,
  input: string[],
  output: string[],
  attribute: AttributeProto[],
): NodeProto {
  return create(NodeProtoSchema, { name: `${opType}_${output[0]}`, opType, domain, input, output, attribute });
}

/** An attribute as the format has it. */
export function attributeProto(name: string, value: Attribute): AttributeProto {
  if ('int' in value) {
    return create(AttributeProtoSchema, { name, type: ATTRIBUTE_TYPE.int, i: BigInt(value.int) });
  }
  if ('float' in value) return create(AttributeProtoSchema, { name, type: ATTRIBUTE_TYPE.float, f: value.float });
  if ('string' in value) {
    return create(AttributeProtoSchema, { name, type: ATTRIBUTE_TYPE.string, s: utf8.encode(value.string) });
  }
  if ('ints' in value) {
    return create(AttributeProtoSchema, { name, type: ATTRIBUTE_TYPE.ints, ints: value.ints.map(BigInt) });
  }
  return create(AttributeProtoSchema, { name, type: ATTRIBUTE_TYPE.floats, floats: [...value.floats] });
}

function valueInfo(name: string, { dtype, shape }: GraphValue): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType: ONNX_TYPE[dtype],
          shape: { dim: shape.map((length, axis) => ({ value: dimension(name, length, axis) })) },
        },
      },
    },
  });
}

// Axes of the same name must be of the same length: open ones have names of their own.
function dimension(name: string, length: number, axis: number) {
  return length === OPEN_AXIS
    ? { case: 'dimParam' as const, value: `${OPEN_AXIS_PREFIX}${name}_${axis}` }
    : { case: 'dimValue' as const, value: BigInt(length) };
}

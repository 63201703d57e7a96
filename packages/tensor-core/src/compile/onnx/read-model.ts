// Reads ONNX models: the whole message, or only what it asks for and gives.
import { fromBinary } from '@bufbuild/protobuf';
import { PithError } from '../../errors/pith-error.ts';
import type { HostDType } from '../../device/device.ts';
import { OPEN_AXIS } from '../graph.ts';
import type { ValueType } from '../graph.ts';
import type { ModelProto, ValueInfoProto } from './onnx_pb.ts';
import { ModelProtoSchema } from './onnx_pb.ts';
import { ONNX_TYPE, OPEN_AXIS_PREFIX } from './onnx-types.ts';

/** The name, inputs and outputs of a model. */
export interface ModelInterface {
  /** Name of the graph. */
  readonly name: string;
  /** Inputs in order, initializers left out. */
  readonly inputs: ReadonlyMap<string, ValueType>;
  /** Outputs in order. */
  readonly outputs: ReadonlyMap<string, ValueType>;
}

/** Decodes a ModelProto. @throws PithError `ONNX_MALFORMED` when the bytes are no ONNX model. */
export function readModel(bytes: Uint8Array): ModelProto {
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    throw new PithError('ONNX_MALFORMED', `ONNX model: the bytes must be a ModelProto, got ${describe(bytes, cause)}`, {
      details: { bytes: bytes.length },
      cause,
    });
  }
  if (model.graph === undefined) {
    throw new PithError('ONNX_MALFORMED', `ONNX model: it must have a graph, got ${bytes.length} bytes without one`, {
      details: { bytes: bytes.length },
    });
  }
  return model;
}

/**
 * The interface of a model with static shapes, or with axes that `writeModel` left open.
 *
 * @throws PithError `ONNX_MALFORMED`, `ONNX_INTERFACE` naming inputs and outputs without a static shape or with a dtype that
 * no host tensor has.
 */
export function readModelInterface(bytes: Uint8Array): ModelInterface {
  const graph = readModel(bytes).graph!;
  const initializers = new Set(graph.initializer.map(({ name }) => name));
  const faults: string[] = [];
  const typesOf = (infos: readonly ValueInfoProto[]): Map<string, ValueType> => {
    const types = new Map<string, ValueType>();
    for (const info of infos) {
      const type = valueType(info);
      if (typeof type === 'string') faults.push(`"${info.name}" ${type}`);
      else types.set(info.name, type);
    }
    return types;
  };
  const inputs = typesOf(graph.input.filter(({ name }) => !initializers.has(name)));
  const outputs = typesOf(graph.output);
  if (faults.length > 0) {
    throw new PithError(
      'ONNX_INTERFACE',
      `ONNX model "${graph.name}": inputs and outputs need static shapes and a host dtype, got: ${faults.join('; ')}`,
      { details: { graph: graph.name, faults } },
    );
  }
  return { name: graph.name, inputs, outputs };
}

const DTYPES = new Map(Object.entries(ONNX_TYPE).map(([dtype, code]) => [code, dtype as HostDType]));

function valueType(info: ValueInfoProto): ValueType | string {
  if (info.type?.value.case !== 'tensorType') return 'is not a tensor';
  const { elemType, shape } = info.type.value.value;
  const dtype = DTYPES.get(elemType);
  if (dtype === undefined) return `has the element type ${elemType}`;
  const lengths = (shape?.dim ?? []).map(({ value }) => {
    if (value.case === 'dimValue') return Number(value.value);
    return value.case === 'dimParam' && value.value.startsWith(OPEN_AXIS_PREFIX) ? OPEN_AXIS : NaN;
  });
  if (shape === undefined || !lengths.every((length) => length >= 0 || length === OPEN_AXIS)) {
    return 'has no static shape';
  }
  return { dtype, shape: lengths };
}

function describe(bytes: Uint8Array, cause: unknown): string {
  return `${bytes.length} bytes (${cause instanceof Error ? cause.message : String(cause)})`;
}

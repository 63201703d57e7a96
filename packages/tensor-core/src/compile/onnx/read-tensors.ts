// What an ONNX file of a stranger holds: operators, inputs, outputs, and its tensors with the places of their bytes. Every count,
// name, shape and place is checked before anything is made of it; nothing is run, and no file but the given bytes is read.
import { PithError } from '../../errors/pith-error.ts';
import type { ModelProto, TensorProto, ValueInfoProto } from './onnx_pb.ts';
import { quantizedNodes } from './quantized-nodes.ts';
import type { OnnxQuantizedNode } from './quantized-nodes.ts';
import { readModel } from './read-model.ts';

/** Caps of {@link readOnnxTensors}. */
export const ONNX_LIMITS = Object.freeze({
  /** Bytes of a model: what protobuf itself can hold. */
  bytes: 2 ** 31 - 1,
  /** Nodes, tensors, inputs, outputs: each. */
  count: 1_000_000,
  /** Axes of a tensor. */
  rank: 16,
  /** Characters of a name. */
  name: 4096,
});

/** Names and bits of the element types that tensors may have. */
const TYPES: ReadonlyMap<number, readonly [name: string, bits: number]> = new Map([
  [1, ['f32', 32]],
  [2, ['u8', 8]],
  [3, ['i8', 8]],
  [4, ['u16', 16]],
  [5, ['i16', 16]],
  [6, ['i32', 32]],
  [7, ['i64', 64]],
  [9, ['bool', 8]],
  [10, ['f16', 16]],
  [11, ['f64', 64]],
  [12, ['u32', 32]],
  [13, ['u64', 64]],
  [16, ['bf16', 16]],
  [17, ['f8_e4m3', 8]],
  [19, ['f8_e5m2', 8]],
  [21, ['u4', 4]],
  [22, ['i4', 4]],
]);

/** A tensor of a model. */
export interface OnnxTensor {
  /** Name of the initializer. */
  readonly name: string;
  /** Element type: `f32`, `f16`, `u4`, ... */
  readonly dtype: string;
  /** Length of each axis. */
  readonly shape: readonly number[];
  /** Bytes by dtype and shape. */
  readonly byteLength: number;
  /** File in the directory of the model; null for a tensor inside the model. */
  readonly file: string | null;
  /** Byte offset in the file; 0 for a tensor inside the model. */
  readonly offset: number;
}

/** An input or output of a model. */
export interface OnnxPort {
  /** Name. */
  readonly name: string;
  /** Element type. */
  readonly dtype: string;
  /** Length of each axis, or the name of one that is known when the model runs. */
  readonly shape: readonly (number | string)[];
}

/** What a model holds. */
export interface OnnxContents {
  /** Inputs, initializers left out. */
  readonly inputs: readonly OnnxPort[];
  /** Outputs. */
  readonly outputs: readonly OnnxPort[];
  /** Initializers. */
  readonly tensors: readonly OnnxTensor[];
  /** Nodes by operator, `domain:operator` outside of the default domain. */
  readonly operators: Readonly<Record<string, number>>;
  /** Nodes that round or restore, in order. */
  readonly quantized: readonly OnnxQuantizedNode[];
  /** Version of the container format. */
  readonly irVersion: number;
  /** Operator sets by domain, `ai.onnx` for the default one. */
  readonly opsets: Readonly<Record<string, number>>;
  /** What wrote the model; empty where it does not say. */
  readonly producer: string;
}

/**
 * Reads what a model holds.
 *
 * @param file Names the model in errors.
 * @throws PithError `ONNX_TOO_LARGE`, `ONNX_MALFORMED`, `ONNX_TOO_MANY`, `ONNX_NAME`, `ONNX_TYPE`, `ONNX_SHAPE`, `ONNX_TENSOR_BYTES`,
 * `ONNX_EXTERNAL_PATH`, `ONNX_EXTERNAL_RANGE`, `ONNX_ATTRIBUTE`, `ONNX_OPSET`, each naming the file and the tensor, node or domain.
 */
export function readOnnxTensors(bytes: Uint8Array, file: string): OnnxContents {
  const refuse = (code: string, message: string, details: Readonly<Record<string, unknown>> = {}): never => {
    throw new PithError(code, `read ${file}: ${message}`, { details: { file, ...details } });
  };
  if (bytes.length > ONNX_LIMITS.bytes) {
    refuse('ONNX_TOO_LARGE', `a model may have at most ${ONNX_LIMITS.bytes} bytes, got ${bytes.length}`);
  }
  let model: ModelProto;
  try {
    model = readModel(bytes);
  } catch (error) {
    return refuse('ONNX_MALFORMED', error instanceof Error ? error.message : String(error));
  }
  const { node, initializer, input, output } = model.graph!;
  for (const [what, list] of Object.entries({ node, initializer, input, output })) {
    if (list.length > ONNX_LIMITS.count) {
      refuse('ONNX_TOO_MANY', `at most ${ONNX_LIMITS.count} of ${what} are read, got ${list.length}`, { what });
    }
  }
  const named = (name: string): string => {
    if (name !== '' && name.length <= ONNX_LIMITS.name && !name.includes('\0')) return name;
    return refuse('ONNX_NAME', `a name must have 1 to ${ONNX_LIMITS.name} characters, got "${name.slice(0, 60)}"`);
  };
  const typed = (name: string, code: number): readonly [string, number] =>
    TYPES.get(code) ??
    refuse('ONNX_TYPE', `tensor ${name}: its element type must be a number, got type ${code}`, {
      tensor: name,
      type: code,
    });
  const seen = new Set<string>();
  const tensors = initializer.map((proto): OnnxTensor => {
    const name = named(proto.name);
    if (seen.has(name))
      refuse('ONNX_NAME', `tensor ${name}: every tensor has a name of its own, got it twice`, { tensor: name });
    seen.add(name);
    const [dtype, bits] = typed(name, proto.dataType);
    const shape = shapeOf(proto.dims, (got) =>
      refuse(
        'ONNX_SHAPE',
        `tensor ${name}: a shape has at most ${ONNX_LIMITS.rank} axes and less than 2^53 values, got [${got}]`,
        { tensor: name },
      ),
    );
    const byteLength = Math.ceil((shape.reduce((size, length) => size * length, 1) * bits) / 8);
    const place = placeOf(proto, byteLength, (code, message) =>
      refuse(code, `tensor ${name}: ${message}`, { tensor: name }),
    );
    return { name, dtype, shape, byteLength, ...place };
  });
  const port = (info: ValueInfoProto): OnnxPort => {
    const name = named(info.name);
    const type = info.type?.value;
    if (type?.case !== 'tensorType')
      return refuse('ONNX_TYPE', `${name}: inputs and outputs must be tensors`, { tensor: name });
    const dims = type.value.shape?.dim ?? [];
    if (dims.length > ONNX_LIMITS.rank)
      refuse('ONNX_SHAPE', `${name}: at most ${ONNX_LIMITS.rank} axes, got ${dims.length}`, { tensor: name });
    const shape = dims.map(({ value }) => {
      if (value.case === 'dimValue') return Number(value.value);
      return value.case === 'dimParam' ? value.value.slice(0, ONNX_LIMITS.name) : '?';
    });
    return { name, dtype: typed(name, type.value.elemType)[0], shape };
  };
  const operators: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const { opType, domain } of node) {
    const key = named(domain === '' ? opType : `${domain}:${opType}`);
    operators[key] = (operators[key] ?? 0) + 1;
  }
  const opsets: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const { domain, version } of model.opsetImport) {
    const key = domain === '' ? 'ai.onnx' : named(domain);
    const known = version >= 1n && version <= 1_000_000n && !(key in opsets);
    if (!known)
      refuse('ONNX_OPSET', `${key}: an operator set has one version from 1 on, got ${version}`, { domain: key });
    opsets[key] = Number(version);
  }
  return {
    quantized: quantizedNodes(node, refuse),
    irVersion: Number(model.irVersion),
    opsets,
    producer: model.producerName.slice(0, ONNX_LIMITS.name),
    inputs: input.filter(({ name }) => !seen.has(name)).map(port),
    outputs: output.map(port),
    tensors,
    operators,
  };
}

function shapeOf(dims: readonly bigint[], refuse: (got: string) => never): number[] {
  const shape = dims.map(Number);
  const bad = shape.length > ONNX_LIMITS.rank || shape.some((length) => !Number.isSafeInteger(length) || length < 0);
  let size = 1;
  for (const length of shape) size *= length;
  return bad || !Number.isSafeInteger(size) ? refuse(shape.slice(0, 20).join(', ')) : shape;
}

const EXTERNAL = 1;

function placeOf(
  proto: TensorProto,
  byteLength: number,
  refuse: (code: string, message: string) => never,
): Pick<OnnxTensor, 'file' | 'offset'> {
  if (proto.dataLocation !== EXTERNAL) {
    const stored = proto.rawData.length;
    const lists =
      proto.floatData.length +
      proto.int32Data.length +
      proto.int64Data.length +
      proto.doubleData.length +
      proto.uint64Data.length;
    if (lists === 0 && stored !== byteLength) {
      refuse('ONNX_TENSOR_BYTES', `its shape has ${byteLength} bytes, got ${stored}`);
    }
    return { file: null, offset: 0 };
  }
  const entries = new Map(proto.externalData.map(({ key, value }) => [key, value]));
  const file = entries.get('location') ?? '';
  // A model may name files beside itself and in folders below, and nothing else.
  const parts = file.split('/');
  const leaves = parts.some((part) => part === '' || part === '.' || part === '..');
  if (leaves || /[\\\0:]/.test(file) || file.length > ONNX_LIMITS.name) {
    refuse('ONNX_EXTERNAL_PATH', `its bytes must lie in the directory of the model, got "${file.slice(0, 60)}"`);
  }
  const whole = (key: string, otherwise: number): number => {
    const text = entries.get(key);
    if (text === undefined) return otherwise;
    const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    return Number.isSafeInteger(value)
      ? value
      : refuse('ONNX_EXTERNAL_RANGE', `its ${key} must be a whole number, got "${text.slice(0, 40)}"`);
  };
  const offset = whole('offset', 0);
  const length = whole('length', byteLength);
  if (length !== byteLength || !Number.isSafeInteger(offset + length)) {
    refuse(
      'ONNX_EXTERNAL_RANGE',
      `its shape has ${byteLength} bytes, the file is said to hold ${length} from ${offset}`,
    );
  }
  return { file, offset };
}

// Writes an ONNX model node by node, values by name: what exporters use, whose dtypes and axes go beyond those of a compiled
// program. Equal nodes and equal constants are written once. Stored tensors have their bytes elsewhere: in external files, or
// handed over when the model is written.
import { create, toBinary } from '@bufbuild/protobuf';
import { PithError } from '../../errors/pith-error.ts';
import { bytesOf } from '../graph.ts';
import type { Attribute, Attributes } from '../graph.ts';
import type { NodeProto, TensorProto, ValueInfoProto } from './onnx_pb.ts';
import { ModelProtoSchema, NodeProtoSchema, TensorProtoSchema, ValueInfoProtoSchema } from './onnx_pb.ts';
import { EXPORT_TYPE, IR_VERSION, MICROSOFT_DOMAIN, OPSET, sizeOf } from './onnx-types.ts';
import type { ExportDType } from './onnx-types.ts';
import { attributeProto } from './write-model.ts';

/** Where the bytes of a stored tensor lie. */
export interface ExternalPlace {
  /** Name of the file, in the directory of the model. */
  readonly file: string;
  /** Byte offset of the first byte. */
  readonly offset: number;
  /** Bytes. */
  readonly byteLength: number;
}

/** The place of a stored tensor, or its bytes where they go into the model itself. */
export type StoredPlace = ExternalPlace | Uint8Array;

/** Options of {@link OnnxModelBuilder.node}. */
export interface BuilderNode {
  /** Constants of this application. */
  readonly attributes?: Attributes;
  /** Domain of the operator; that of ONNX itself when left out. */
  readonly domain?: string;
  /** Names of the results; one result with a generated name when left out. */
  readonly outputs?: readonly string[];
  /** Begins the generated name: the path of the module. */
  readonly path?: string;
}

interface Stored {
  readonly name: string;
  readonly dtype: ExportDType;
  readonly dims: readonly number[];
}

/** Model properties by name, written as `metadata_props`. */
export type ModelProperties = Readonly<Record<string, string>>;

/** A growing ONNX model (IR version 10, operator set 21, com.microsoft 1). */
export class OnnxModelBuilder {
  readonly #name: string;
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: (TensorProto | Stored)[] = [];
  readonly #known = new Map<string, readonly string[]>();
  readonly #constants = new Map<string, string>();
  readonly #taken = new Set<string>();
  #usesMicrosoft = false;

  constructor(name: string) {
    this.#name = name;
  }

  /** Declares an input; axes that are known when the model runs are named. */
  input(name: string, dtype: ExportDType, dims: readonly (number | string)[]): string {
    this.#inputs.push(valueInfo(this.#claim(name), dtype, dims));
    return name;
  }

  /** Declares an output, whose name a node has given to its result. */
  output(name: string, dtype: ExportDType, dims: readonly (number | string)[]): void {
    this.#outputs.push(valueInfo(name, dtype, dims));
  }

  /** Applies an operator and gives the name of its first result. An application seen before is not repeated. */
  op(opType: string, inputs: readonly (string | undefined)[], options: BuilderNode = {}): string {
    return this.node(opType, inputs, options)[0]!;
  }

  /** Applies an operator. An application seen before is not repeated, unless its results are named. */
  node(opType: string, inputs: readonly (string | undefined)[], options: BuilderNode = {}): readonly string[] {
    const { attributes = {}, domain = '', outputs, path = '' } = options;
    const protos = Object.entries(attributes).map(([name, value]: [string, Attribute]) => attributeProto(name, value));
    const operands = inputs.map((name) => name ?? '');
    while (operands.at(-1) === '') operands.pop();
    const key = JSON.stringify([
      domain,
      opType,
      operands,
      Object.entries(attributes).map(([name, value]) => [name, Object.values(value as object).map(String)]),
    ]);
    const known = outputs === undefined ? this.#known.get(key) : undefined;
    if (known) return known;
    const names = outputs?.map((name) => this.#claim(name)) ?? [
      this.#fresh(path === '' ? opType : `${path}/${opType}`),
    ];
    if (domain === MICROSOFT_DOMAIN) this.#usesMicrosoft = true;
    this.#nodes.push(
      create(NodeProtoSchema, {
        name: `${names[0]}_node`,
        opType,
        domain,
        input: operands,
        output: [...names],
        attribute: protos,
      }),
    );
    if (outputs === undefined) this.#known.set(key, names);
    return names;
  }

  /** True where a value of this name is declared. */
  has(name: string): boolean {
    return this.#taken.has(name);
  }

  /** A constant inside the model. Equal ones are written once. */
  constant(dtype: ExportDType, dims: readonly number[], data: ArrayBufferView): string {
    const bytes = bytesOf(data);
    const key = `${dtype}[${dims.join()}]${Array.from(bytes).join()}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.#fresh('constant');
    this.#initializers.push(tensorProto({ name, dtype, dims }, bytes.slice()));
    this.#constants.set(key, name);
    return name;
  }

  /** A constant vector of int64. */
  ints(values: readonly number[]): string {
    return this.constant('i64', [values.length], BigInt64Array.from(values, BigInt));
  }

  /** A constant f32 scalar. */
  float(value: number): string {
    return this.constant('f32', [], Float32Array.of(value));
  }

  /** A tensor whose bytes are placed when the model is written. @throws PithError `ONNX_DUPLICATE_NAME` */
  stored(name: string, dtype: ExportDType, dims: readonly number[]): string {
    this.#initializers.push({ name: this.#claim(name), dtype, dims });
    return name;
  }

  /**
   * The bytes of the ModelProto.
   *
   * @param place Where each stored tensor lies.
   */
  toBytes(place: (name: string) => StoredPlace, properties: ModelProperties = {}): Uint8Array<ArrayBuffer> {
    const initializer = this.#initializers.map((tensor) =>
      '$typeName' in tensor ? tensor : tensorProto(tensor, place(tensor.name)),
    );
    const model = create(ModelProtoSchema, {
      irVersion: BigInt(IR_VERSION),
      producerName: 'pith',
      opsetImport: [
        { domain: '', version: BigInt(OPSET) },
        ...(this.#usesMicrosoft ? [{ domain: MICROSOFT_DOMAIN, version: 1n }] : []),
      ],
      graph: { name: this.#name, node: this.#nodes, initializer, input: this.#inputs, output: this.#outputs },
      metadataProps: Object.entries(properties).map(([key, value]) => ({ key, value })),
    });
    return toBinary(ModelProtoSchema, model);
  }

  #claim(name: string): string {
    if (this.#taken.has(name)) {
      throw new PithError(
        'ONNX_DUPLICATE_NAME',
        `ONNX model "${this.#name}": every value has a name of its own, got ${name} twice`,
        {
          kind: 'internal',
          details: { model: this.#name, name },
        },
      );
    }
    this.#taken.add(name);
    return name;
  }

  #fresh(wish: string): string {
    let name = wish;
    for (let i = 1; this.#taken.has(name); i++) name = `${wish}_${i}`;
    this.#taken.add(name);
    return name;
  }
}

const EXTERNAL = 1;

function tensorProto({ name, dtype, dims }: Stored, place: StoredPlace): TensorProto {
  const head = { name, dataType: EXPORT_TYPE[dtype], dims: dims.map(BigInt) };
  if (place instanceof Uint8Array) return create(TensorProtoSchema, { ...head, rawData: place });
  const { file, offset, byteLength } = place;
  const entries = { location: file, offset: String(offset), length: String(byteLength) };
  return create(TensorProtoSchema, {
    ...head,
    dataLocation: EXTERNAL,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
  });
}

function valueInfo(name: string, dtype: ExportDType, dims: readonly (number | string)[]): ValueInfoProto {
  const dim = dims.map((length) => ({
    value:
      typeof length === 'string'
        ? { case: 'dimParam' as const, value: length }
        : { case: 'dimValue' as const, value: BigInt(length) },
  }));
  const tensorType = { elemType: EXPORT_TYPE[dtype], shape: { dim } };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value: tensorType } } });
}

/** Bytes of a stored tensor. */
export function exportBytes(dtype: ExportDType, dims: readonly number[]): number {
  const bits = sizeOf(dims) * EXPORT_BITS[dtype];
  return Math.ceil(bits / 8);
}

const EXPORT_BITS: Readonly<Record<ExportDType, number>> = {
  f32: 32,
  f16: 16,
  u8: 8,
  i8: 8,
  i32: 32,
  i64: 64,
  bool: 8,
  f64: 64,
};

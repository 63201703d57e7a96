// The tfjs backend that records instead of computing. Data ids map to graph values; kernels are looked up in the table and
// write nodes. One trace at a time uses it: it is registered for the length of that trace alone, so that a program never
// meets it by accident, and whatever the trace left in the engine's books is taken out again.
import * as tf from '@tensorflow/tfjs-core';
import { PithError, isPithError } from '../errors/pith-error.ts';
import type { HostArrays, HostDType } from '../device/device.ts';
import { withGradients } from './gradients/index.ts';
import type { GraphValue, OnnxGraph } from './graph.ts';
import { graphDType } from './kernels/kernel.ts';
import type { KernelLowering } from './kernels/kernel.ts';
import { KERNELS } from './kernels/index.ts';
import { reshape } from './lower/shape.ts';
import { hostArray, hostArrayType, sizeOf } from './onnx/onnx-types.ts';

/** Name that the recording backend has in tfjs. */
export const TRACE_BACKEND = 'pith-trace';

const TFJS_DTYPE: Readonly<Partial<Record<HostDType, tf.DataType>>> = { f32: 'float32', i32: 'int32', bool: 'bool' };

interface Entry {
  readonly value: GraphValue;
  references: number;
}

/** A tensor of another backend that the traced function used; it is given back to that backend afterwards. */
interface Captured {
  readonly values: tf.BackendValues;
  readonly from: tf.KernelBackend;
}

/** Records the kernels of one trace into one graph. */
export class TraceBackend extends tf.KernelBackend {
  /** The graph that is being recorded. */
  readonly graph: OnnxGraph;
  readonly #entries = new Map<tf.DataId, Entry>();
  readonly #captured = new Map<tf.DataId, Captured>();

  constructor(graph: OnnxGraph) {
    super();
    this.graph = graph;
  }

  /** A new data id that stands for a value. */
  hold(value: GraphValue): tf.DataId {
    const dataId = {};
    this.#entries.set(dataId, { value, references: 1 });
    return dataId;
  }

  /** The value of a tensor; a tensor of another backend is captured as a constant. */
  recorded(tensor: tf.TensorInfo): GraphValue {
    const entry = this.#entries.get(tensor.dataId) ?? this.#capture(tensor);
    const { value } = entry;
    // Backends share one data id among tensors of different shapes: a captured tensor and its reshape, for one.
    return reshape(this.graph, value, tensor.shape);
  }

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): tf.DataId {
    return this.hold(this.#constant(values, shape, dtype));
  }

  override move(
    dataId: tf.DataId,
    values: tf.BackendValues,
    shape: number[],
    dtype: tf.DataType,
    references: number,
  ): void {
    this.#entries.set(dataId, { value: this.#constant(values, shape, dtype), references });
  }

  override readSync(dataId: tf.DataId): tf.BackendValues {
    const captured = this.#captured.get(dataId);
    if (captured !== undefined) return captured.values;
    const value = this.#entries.get(dataId)?.value;
    if (value?.data !== undefined) {
      const data = value.data as Float32Array;
      return value.splat ? (hostArray(value.dtype, sizeOf(value.shape)) as Float32Array).fill(data[0]!) : data.slice();
    }
    throw new PithError(
      'TRACE_VALUE_READ',
      `compile "${this.graph.name}": the function may not read the values of a tensor (data, dataSync, array) while it is ` +
        'compiled: there are none yet; keep the computation in tensors, or read a result after running the program',
      { details: { graph: this.graph.name } },
    );
  }

  override read(dataId: tf.DataId): Promise<tf.BackendValues> {
    return Promise.resolve(this.readSync(dataId));
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    const entry = this.#entries.get(dataId);
    if (entry === undefined) return true;
    entry.references--;
    if (!force && entry.references > 0) return false;
    this.#entries.delete(dataId);
    return true;
  }

  override incRef(dataId: tf.DataId): void {
    const entry = this.#entries.get(dataId);
    if (entry !== undefined) entry.references++;
  }

  override refCount(dataId: tf.DataId): number {
    return this.#entries.get(dataId)?.references ?? 0;
  }

  override numDataIds(): number {
    return this.#entries.size;
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: false };
  }

  override time(): Promise<tf.BackendTimingInfo> {
    return Promise.reject(new PithError('TRACE_TIME', 'compile: a traced function has no running time to measure'));
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override dispose(): void {
    this.#entries.clear();
    this.#captured.clear();
  }

  /** Data ids that are still held, those of captured tensors left out. */
  leftovers(): tf.DataId[] {
    return [...this.#entries.keys()].filter((dataId) => !this.#captured.has(dataId));
  }

  /** Gives captured tensors back to the backends that they came from. */
  returnCaptured(): void {
    for (const [dataId, { from }] of this.#captured) {
      if (this.#entries.has(dataId)) tf.engine().moveData(from, dataId);
    }
    this.#captured.clear();
  }

  // Moving is how tfjs brings data from one backend to another: the tensor lives here until returnCaptured.
  #capture(tensor: tf.TensorInfo): Entry {
    const engine = tf.engine();
    const info = engine.state.tensorInfo.get(tensor.dataId);
    if (info === undefined) {
      throw new PithError('TRACE_DISPOSED', `compile "${this.graph.name}": the function used a disposed tensor`, {
        details: { graph: this.graph.name, shape: tensor.shape },
      });
    }
    const from = info.backend;
    const values = engine.readSync(tensor.dataId);
    engine.moveData(this, tensor.dataId);
    this.#captured.set(tensor.dataId, { values, from });
    return this.#entries.get(tensor.dataId)!;
  }

  #constant(values: tf.BackendValues, shape: readonly number[], tfjsDType: tf.DataType): GraphValue {
    const dtype = graphDType(tfjsDType);
    const type = hostArrayType(dtype);
    const data = values instanceof type ? values : (type.from as typeof Float32Array.from)(values as ArrayLike<number>);
    return this.graph.constant(dtype, shape, data as HostArrays[HostDType]);
  }
}

/** The tfjs kernel configuration that records through `lowering`. */
function kernelConfig(kernelName: string, lowering: KernelLowering): tf.KernelConfig {
  return {
    kernelName,
    backendName: TRACE_BACKEND,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const trace = backend as TraceBackend;
      const values: Record<string, GraphValue> = {};
      for (const [name, tensor] of Object.entries(inputs)) {
        if (tensor !== undefined && tensor !== null) values[name] = trace.recorded(tensor);
      }
      const outputs = lowering(trace.graph, values, attrs ?? {});
      const infos = ('length' in outputs ? outputs : [outputs]).map((value) => tensorInfo(trace, kernelName, value));
      return 'length' in outputs ? infos : infos[0]!;
    },
  };
}

function tensorInfo(trace: TraceBackend, kernel: string, value: GraphValue): tf.TensorInfo {
  const dtype = TFJS_DTYPE[value.dtype];
  if (dtype === undefined) {
    throw new PithError(
      'TRACE_DTYPE',
      `compile: the kernel ${kernel} gave a ${value.dtype}, which tfjs has no name for`,
      {
        kind: 'internal',
      },
    );
  }
  return { dataId: trace.hold(value), shape: [...value.shape], dtype };
}

let active: string | undefined;

/**
 * Runs `body` with a recording backend as tfjs's backend and restores everything afterwards: the backend, captured tensors,
 * the engine's counts, variables that the body registered.
 *
 * @throws PithError `TRACE_NESTED` inside another trace, `TRACE_KERNEL_UNSUPPORTED` naming a kernel that is not recorded,
 * `TRACE_GRADIENT_UNSUPPORTED` naming one that is and has no gradient.
 */
export function withTraceBackend<T>(graph: OnnxGraph, body: (backend: TraceBackend) => T): T {
  if (active !== undefined) {
    throw new PithError(
      'TRACE_NESTED',
      `compile "${graph.name}": a compiled function may not compile another, got one inside "${active}"; ` +
        'call the inner function directly',
      { details: { graph: graph.name, inside: active } },
    );
  }
  const engine = tf.engine();
  // Fields that the engine declares private, and offers no way to put back.
  const selection = engine as unknown as { backendName: unknown; backendInstance: unknown; profiler: unknown };
  const { backendName, backendInstance, profiler } = selection;
  const variables = new Set(Object.keys(engine.registeredVariables));
  const { numTensors, numBytes, numDataBuffers } = engine.state;
  const scopes = engine.state.scopeStack.length;
  const backend = new TraceBackend(graph);
  active = graph.name;
  tf.registerBackend(TRACE_BACKEND, () => backend, 0);
  const kernels = Object.entries(KERNELS).map(([name, lowering]) => kernelConfig(name, lowering));
  for (const kernel of kernels) tf.registerKernel(kernel);
  try {
    void engine.setBackend(TRACE_BACKEND); // synchronous for a backend with a synchronous factory
    let result: T;
    withGradients(() =>
      tf.tidy(() => {
        result = body(backend);
      }),
    );
    return result!;
  } catch (error) {
    throw explain(graph.name, error);
  } finally {
    while (engine.state.scopeStack.length > scopes) engine.endScope();
    for (const [name, variable] of Object.entries(engine.registeredVariables)) {
      if (!variables.has(name)) variable.dispose();
    }
    backend.returnCaptured();
    for (const dataId of backend.leftovers()) engine.removeDataId(dataId, backend);
    // A function that threw inside a gradient, or kept tensors, leaves counts that nothing would take back.
    Object.assign(engine.state, { numTensors, numBytes, numDataBuffers });
    for (const { kernelName } of kernels) tf.unregisterKernel(kernelName, TRACE_BACKEND);
    engine.removeBackend(TRACE_BACKEND);
    Object.assign(selection, { backendName, backendInstance, profiler });
    active = undefined;
  }
}

function explain(graph: string, error: unknown): unknown {
  if (isPithError(error) || !(error instanceof Error)) return error;
  const kernel = /^Kernel '([^']+)' not registered for backend 'pith-trace'/.exec(error.message)?.[1];
  if (kernel !== undefined) {
    return new PithError(
      'TRACE_KERNEL_UNSUPPORTED',
      `compile "${graph}": the kernel ${kernel} is not recorded; write it with operations that are (see COMPILED_KERNELS)`,
      { details: { graph, kernel }, cause: error },
    );
  }
  const gradient = /gradient function not found for ([^.]+)\./.exec(error.message)?.[1];
  if (gradient === undefined) return error;
  return new PithError(
    'TRACE_GRADIENT_UNSUPPORTED',
    `compile "${graph}": the kernel ${gradient} has no gradient; keep it off the path from what is differentiated to the ` +
      'loss, or give it one with tf.customGrad',
    { details: { graph, kernel: gradient }, cause: error },
  );
}

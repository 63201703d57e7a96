// compile(fn, signature, device): trace, serialize, make ready (design 2a).
import { PithError } from '../errors/pith-error.ts';
import type { Device, HostTensor, HostTensors } from '../device/device.ts';
import type { GraphStats, OnnxGraph, ValueType } from './graph.ts';
import { writeModel } from './onnx/write-model.ts';
import { graphThreads } from './product-threads.ts';
import { trace } from './trace.ts';
import type { Signature, TracedFunction } from './trace.ts';

/** A compiled tensor program. */
export interface Program {
  /** Dtype and shape of each input, in the order of the signature. */
  readonly inputs: Readonly<Record<string, ValueType>>;
  /** Dtype and shape of each output, in the order of the function's result. */
  readonly outputs: Readonly<Record<string, ValueType>>;
  /** Nodes and constants of the graph. */
  readonly stats: GraphStats;
  /**
   * Runs the program once. Inputs are read, not kept. Outputs named in `into` are written to those arrays without a copy;
   * the others are new arrays.
   *
   * @throws PithError `PROGRAM_INPUT` naming every missing, unknown or ill-shaped input; `EXECUTABLE_DISPOSED`.
   */
  run(inputs: HostTensors, into?: HostTensors): Promise<Record<string, HostTensor>>;
  /** The graph as an ONNX model. @throws PithError `EXECUTABLE_DISPOSED` after dispose. */
  toOnnx(): Uint8Array;
  /** Frees what the device and this object hold. Further runs fail with `EXECUTABLE_DISPOSED`. */
  dispose(): Promise<void>;
}

/** Options of {@link compile}. */
export interface CompileOptions {
  /** Names the program in errors and in the model; `program` when left out. */
  readonly name?: string;
}

/**
 * Compiles a synchronous function over `@tensorflow/tfjs-core` tensors, gradients included, into one program for a device.
 *
 * @example
 * const program = await compile(({ x, w }) => tf.matMul(x, w, false, true), { x: { shape: [4, 8] }, w: { shape: [2, 8] } }, device);
 * const { output } = await program.run({ x: {...}, w: {...} });
 *
 * @throws what {@link trace} throws, `GRAPH_TOO_LARGE`, and the device's error when it refuses the graph.
 */
export async function compile<const S extends Signature>(
  fn: TracedFunction<S>,
  signature: S,
  device: Device,
  options: CompileOptions = {},
): Promise<Program> {
  return compileGraph(trace(fn, signature, options.name), device);
}

/**
 * Makes a graph ready on a device, with no more threads than leave its results as they are with one, nor than `threads`.
 */
export async function compileGraph(
  graph: OnnxGraph,
  device: Device,
  threads: number = device.limits.threads,
): Promise<Program> {
  const stats = graph.stats();
  const inputs = typesOf(graph.inputs);
  const outputs = typesOf(graph.outputs);
  const { name } = graph;
  let model: Uint8Array | undefined = writeModel(graph);
  const executable = await device.compile(model, { threads: graphThreads(graph, threads) });
  return {
    inputs,
    outputs,
    stats,
    run: (feeds, into) => executable.run(feeds, into),
    toOnnx: () => {
      if (model === undefined) throw disposed(name);
      return model;
    },
    dispose: () => {
      model = undefined;
      return executable.dispose();
    },
  };
}

function disposed(name: string): PithError {
  return new PithError('EXECUTABLE_DISPOSED', `program "${name}": it was disposed; compile it again`, {
    kind: 'internal',
    details: { program: name },
  });
}

function typesOf(values: ReadonlyMap<string, ValueType>): Readonly<Record<string, ValueType>> {
  return Object.freeze(
    Object.fromEntries([...values].map(([name, { dtype, shape }]) => [name, Object.freeze({ dtype, shape })])),
  );
}

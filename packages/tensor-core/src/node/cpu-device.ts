// The CPU device: ONNX Runtime's CPU provider inside this process. The runtime is loaded when the first program is compiled,
// because loading it takes longer than most commands of the command line do.
import { constants } from 'node:buffer';
import { availableParallelism } from 'node:os';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type OrtDefault from 'onnxruntime-node';
import { z } from 'zod';
import { PithError } from '../errors/pith-error.ts';
import type { Device, Executable, HostDType, HostTensor, HostTensors } from '../device/device.ts';
import { checkTensors } from '../compile/check-tensors.ts';
import { readModelInterface } from '../compile/onnx/read-model.ts';
import type { ModelInterface } from '../compile/onnx/read-model.ts';

/** Options of {@link cpuDevice}. */
export interface CpuDeviceOptions {
  /** Threads of one program; the cores that this process may use when left out. */
  readonly threads?: number | undefined;
  /** How far ONNX Runtime rewrites a graph before it runs; `all` when left out. */
  readonly optimization?: 'disabled' | 'basic' | 'extended' | 'all' | undefined;
  /**
   * Keeps the memory of intermediate values between runs of a program, until the program is disposed; true when left out.
   * Without it each run allocates and frees.
   */
  readonly keepMemory?: boolean | undefined;
  /**
   * Lets threads spin while they wait for work within a run: faster for programs of many small operations. They never spin
   * between runs, nor where there are more threads than processors. True when left out.
   */
  readonly spin?: boolean | undefined;
}

const optionsSchema = z.strictObject({
  threads: z.int().min(1).max(1024).optional(),
  optimization: z.enum(['disabled', 'basic', 'extended', 'all']).optional(),
  keepMemory: z.boolean().optional(),
  spin: z.boolean().optional(),
});

type Ort = typeof OrtDefault;

const ORT_TYPE = {
  f32: 'float32',
  f64: 'float64',
  i32: 'int32',
  i64: 'int64',
  bool: 'bool',
  u8: 'uint8',
} as const satisfies Record<HostDType, Tensor.Type>;

/**
 * The CPU as a device, through onnxruntime-node.
 *
 * Programs run on the calling thread and on `threads - 1` threads of their own; the event loop waits meanwhile.
 * @throws PithError `CPU_DEVICE_OPTIONS`
 */
export function cpuDevice(options: CpuDeviceOptions = {}): Device {
  const checked = optionsSchema.safeParse(options);
  if (!checked.success) {
    throw new PithError('CPU_DEVICE_OPTIONS', `cpuDevice: ${z.prettifyError(checked.error)}`, { details: { options } });
  }
  const threads = checked.data.threads ?? availableParallelism();
  // Threads that wait for a processor must not hold one while they wait.
  const spins = (checked.data.spin ?? true) && threads <= availableParallelism();
  const sessionOptions: InferenceSession.SessionOptions = {
    executionProviders: [{ name: 'cpu' }],
    executionMode: 'sequential',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: checked.data.optimization ?? 'all',
    enableCpuMemArena: checked.data.keepMemory ?? true,
    // Planning one block for all values made a training step hold half as much memory again, at the same speed.
    enableMemPattern: false,
    logSeverityLevel: 4,
    extra: {
      session: {
        'intra_op.allow_spinning': spins ? '1' : '0',
        // Between runs the cores belong to others: readers, packers, hashers.
        force_spinning_stop: '1',
      },
    },
  };
  const executables = new Set<OrtExecutable>();
  let disposed = false;
  return {
    name: 'cpu',
    limits: { maxTensorBytes: constants.MAX_LENGTH, threads },
    async compile(model, { threads: most = threads } = {}) {
      if (disposed) {
        throw new PithError('DEVICE_DISPOSED', 'cpu device: it was disposed; make a new one with cpuDevice()', {
          kind: 'internal',
        });
      }
      const described = readModelInterface(model);
      const ort = await loadOrt();
      const session = await attempt('CPU_COMPILE', described.name, 'ONNX Runtime refused the graph', () =>
        ort.InferenceSession.create(model, { ...sessionOptions, intraOpNumThreads: Math.min(threads, most) }),
      );
      const executable = new OrtExecutable(ort, session, described, () => executables.delete(executable));
      executables.add(executable);
      return executable;
    },
    async dispose() {
      disposed = true;
      await Promise.all([...executables].map((executable) => executable.dispose()));
    },
  };
}

let loading: Promise<Ort> | undefined;

/**
 * Where ONNX Runtime is told not to report its use to its makers, which its builds for Linux and macOS do from 1.30 on: an identifier and
 * a database in the user's cache, an empty log of each process in the temporary directory, events over the network. There is
 * no other way to say so. What the user has set counts.
 */
const NO_TELEMETRY = 'ORT_DISABLE_TELEMETRY';

// ONNX Runtime's global logger is made with the first session and writes to stderr; libraries are silent.
function loadOrt(): Promise<Ort> {
  process.env[NO_TELEMETRY] ??= '1';
  loading ??= import('onnxruntime-node').then(({ default: ort }) => {
    ort.env.logLevel = 'fatal';
    return ort;
  });
  return loading;
}

class OrtExecutable implements Executable {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly #ort: Ort;
  readonly #model: ModelInterface;
  readonly #forget: () => void;
  #session: InferenceSession | undefined;

  constructor(ort: Ort, session: InferenceSession, model: ModelInterface, forget: () => void) {
    this.#ort = ort;
    this.#session = session;
    this.#model = model;
    this.#forget = forget;
    this.inputs = [...model.inputs.keys()];
    this.outputs = [...model.outputs.keys()];
  }

  async run(inputs: HostTensors, into: HostTensors = {}): Promise<Record<string, HostTensor>> {
    const session = this.#session;
    const { name } = this.#model;
    if (session === undefined) throw disposedError(name);
    checkTensors(name, 'input', this.#model.inputs, inputs, true);
    checkTensors(name, 'output', this.#model.outputs, into, false);
    const feeds: Record<string, Tensor> = {};
    for (const input of this.inputs) feeds[input] = this.#tensor(inputs[input]!);
    const fetches: Record<string, Tensor | null> = {};
    for (const output of this.outputs) {
      const target = into[output];
      // Memory shared between threads cannot be lent to the runtime: it writes elsewhere and the result is copied.
      fetches[output] = target === undefined || isShared(target) ? null : this.#tensor(target);
    }
    const results = await attempt('CPU_RUN', name, 'ONNX Runtime failed', () =>
      session.run(feeds, fetches, { logSeverityLevel: 4 }),
    );
    const outputs: Record<string, HostTensor> = {};
    for (const output of this.outputs) {
      const target = into[output];
      const result = results[output] as Tensor;
      const { dtype } = this.#model.outputs.get(output)!;
      if (target === undefined)
        outputs[output] = { dtype, shape: result.dims, data: result.data as HostTensor['data'] };
      else {
        if (isShared(target)) (target.data as Float32Array).set(result.data as Float32Array);
        outputs[output] = target;
      }
    }
    return outputs;
  }

  async dispose(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    this.#forget();
    await session?.release();
  }

  #tensor({ dtype, shape, data }: HostTensor): Tensor {
    // A typed array over a SharedArrayBuffer is copied: see isShared.
    const lent = data.buffer instanceof SharedArrayBuffer ? data.slice() : data;
    return new this.#ort.Tensor(ORT_TYPE[dtype], lent as Float32Array, shape) as Tensor;
  }
}

const isShared = ({ data }: HostTensor): boolean => data.buffer instanceof SharedArrayBuffer;

function disposedError(name: string): PithError {
  return new PithError('EXECUTABLE_DISPOSED', `program "${name}": it was disposed; compile it again`, {
    kind: 'internal',
    details: { program: name },
  });
}

async function attempt<T>(code: string, name: string, what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    if (/allocate memory|bad_alloc|bad allocation/.test(message)) {
      throw new PithError('CPU_OUT_OF_MEMORY', `program "${name}": out of memory; use smaller batches: ${message}`, {
        details: { program: name, message },
        cause,
      });
    }
    throw new PithError(code, `program "${name}": ${what}: ${message}`, {
      kind: 'internal',
      details: { program: name, message },
      cause,
    });
  }
}

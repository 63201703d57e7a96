// Whether this machine can do the work, checked by doing it: nothing here trusts a version number alone.
import { statfs } from 'node:fs/promises';
import { availableParallelism, freemem, tmpdir, totalmem } from 'node:os';
import { throwIfStopped, type RunOptions } from '@pith/tensor-core';
import { formatBytes } from '../format.ts';

/** One thing that was looked at. */
export interface DoctorCheck {
  /** What was looked at: `node`, `memory`. */
  readonly name: string;
  /** True where nothing needs doing. */
  readonly ok: boolean;
  /** What was found. */
  readonly found: string;
  /** What to do about a problem. */
  readonly remedy?: string;
}

/** The state of this machine. */
export interface DoctorReport {
  /** True when every check is. */
  readonly ok: boolean;
  /** What was looked at, in order. */
  readonly checks: readonly DoctorCheck[];
}

const LEAST_NODE = [20, 19] as const;
const LEAST_MEMORY = 1e9;
const LEAST_DISK = 1e9;

/** Checks Node, WebAssembly, threads, onnxruntime, memory and disk space of the current and the temporary directory. */
export async function doctor(options: Pick<RunOptions, 'signal'> = {}): Promise<DoctorReport> {
  const checks: DoctorCheck[] = [];
  for (const look of [checkNode, checkSimd, checkThreads, checkOnnxRuntime, checkMemory, checkDisk]) {
    throwIfStopped(options.signal, 'doctor');
    checks.push(await look());
  }
  return { ok: checks.every((check) => check.ok), checks };
}

/** Checks a version of Node, `20.19.0`. */
export function checkNode(running: string = process.versions.node): DoctorCheck {
  const [major = 0, minor = 0] = running.split('.').map(Number);
  const ok = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1]);
  return {
    name: 'node',
    ok,
    found: running,
    ...(ok ? {} : { remedy: `install Node ${LEAST_NODE.join('.')} or newer` }),
  };
}

// The smallest module with a 128-bit operation: (func (result v128) (v128.const 0)).
const SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 22, 1, 20, 0, 253, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 11,
];

function checkSimd(): DoctorCheck {
  const { WebAssembly } = globalThis as unknown as { WebAssembly?: { validate(bytes: Uint8Array): boolean } };
  const ok = WebAssembly?.validate(Uint8Array.from(SIMD_MODULE)) === true;
  return {
    name: 'wasm simd',
    ok,
    found: ok ? 'runs' : 'is not supported',
    ...(ok ? {} : { remedy: 'use a processor and a build of Node with WebAssembly SIMD' }),
  };
}

async function checkThreads(): Promise<DoctorCheck> {
  const { Worker } = await import('node:worker_threads');
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const code = "const { workerData } = require('node:worker_threads'); Atomics.store(workerData, 0, 42);";
  const failure = await new Promise<unknown>((resolve) => {
    const worker = new Worker(code, { eval: true, workerData: shared });
    worker.on('error', resolve).on('exit', () => resolve(undefined));
  });
  const ok = failure === undefined && Atomics.load(shared, 0) === 42;
  return {
    name: 'threads',
    ok,
    found: ok
      ? `${availableParallelism()} with shared memory`
      : `a worker with shared memory failed: ${String(failure)}`,
    ...(ok ? {} : { remedy: 'allow worker threads and SharedArrayBuffer' }),
  };
}

async function checkOnnxRuntime(): Promise<DoctorCheck> {
  try {
    const { compileGraph, OnnxGraph } = await import('@pith/tensor-core');
    const { cpuDevice } = await import('@pith/tensor-core/node');
    const graph = new OnnxGraph('doctor');
    const type = { dtype: 'f32', shape: [1] } as const;
    graph.output('y', graph.op('Neg', [graph.input('x', type.dtype, type.shape)], type));
    const device = cpuDevice({ threads: 1 });
    const program = await compileGraph(graph, device);
    const { y } = await program.run({ x: { ...type, data: Float32Array.of(42) } });
    await program.dispose();
    await device.dispose();
    if (y?.data[0] !== -42) throw new Error(`it computed ${String(y?.data[0])} for -42`);
    return { name: 'onnxruntime', ok: true, found: 'computes' };
  } catch (error) {
    return {
      name: 'onnxruntime',
      ok: false,
      found: `does not work: ${error instanceof Error ? error.message : String(error)}`,
      remedy: 'install again on this platform; eval, generate and logits need it, quantize does not',
    };
  }
}

function checkMemory(): DoctorCheck {
  // In a container the limit counts, not the machine.
  const limit = process.constrainedMemory();
  const total = limit > 0 && limit < totalmem() ? limit : totalmem();
  const ok = total >= LEAST_MEMORY;
  return {
    name: 'memory',
    ok,
    found: `${formatBytes(total)}, ${formatBytes(Math.min(freemem(), total))} free`,
    ...(ok ? {} : { remedy: `at least ${formatBytes(LEAST_MEMORY)} is needed for anything but toys` }),
  };
}

async function checkDisk(): Promise<DoctorCheck> {
  const free = async (directory: string): Promise<number> => {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  };
  const here = await free('.');
  const temporary = await free(tmpdir());
  const ok = here >= LEAST_DISK;
  return {
    name: 'disk',
    ok,
    found: `${formatBytes(here)} free here, ${formatBytes(temporary)} in the temporary directory`,
    ...(ok ? {} : { remedy: 'make room, or work on another disk' }),
  };
}

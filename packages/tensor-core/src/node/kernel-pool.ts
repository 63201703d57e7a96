// Worker threads that run kernels, reads and writes over one shared memory (design 6). A job is a list of steps that one
// worker runs in order; what a job reads first is read before, so that no worker waits for a disk. Results never depend on the number
// of threads.
//
// Shared: the memory, the compiled kernels, one stop flag per worker. Posted: the steps and their results, a few numbers.
import { setMaxListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import { throwIfStopped, type PithError } from '../errors/pith-error.ts';
import { STATIC_BYTES, compileKernels, createKernelMemory, instantiateKernels } from '../kernels/instance.ts';
import { PAGE_BYTES, type WasmMemory } from '../kernels/web-assembly.ts';
import { FileCache } from './file-cache.js';
import type { JobOutcome, JobStep, StepResult } from './kernel-job.ts';
import { MemoryRegion } from './memory-region.ts';
import { disposedError, exhausted, failureError, notInUse, requireInteger, resultsOf } from './pool-results.ts';
import { PrivatePool } from './private-pool.ts';
import { leadingReads, ReadAhead } from './read-ahead.ts';
import { RegionAllocator } from './region-allocator.ts';
import { closeFiles, runSteps } from './run-steps.js';
import { WorkerHandle } from './worker-handle.ts';

/** Jobs that touch fewer bytes run on the calling thread: posting one to a worker costs about as much. */
export const SERIAL_JOB_BYTES = 64 * 1024;

/** Default of {@link KernelPoolOptions.maxBytes}: 1 GiB. */
export const DEFAULT_POOL_BYTES = 2 ** 30;

/** Most bytes that one pool can have: what a 32-bit address reaches. */
export const MAX_POOL_BYTES = 2 ** 32;

/** Pools of more threads than this are worth the copies that {@link KernelPool.near} saves. */
const FEW_THREADS = 2;

/** Most bytes that are set aside for one thread alone. */
const MAX_NEAR_BYTES = 2 ** 31;

/** Small things that work near a device sets aside as well. */
const NEAR_SPARE_BYTES = 2 ** 27;

/** How a pool is made. */
export interface KernelPoolOptions {
  /** Worker threads, started when first needed; the processors of the machine when left out. 0 runs every job on the calling thread. */
  readonly threads?: number;
  /** Most bytes that the shared memory may grow to, 64 KiB of static data included. */
  readonly maxBytes?: number;
}

/** What a job may say about itself. */
export interface JobOptions {
  /** Takes the job from the queue, or ends it after the step in hand, with a `STOPPED` error. */
  readonly signal?: AbortSignal;
  /** Bytes that the job touches: below {@link SERIAL_JOB_BYTES} it runs on the calling thread at once. */
  readonly bytes?: number;
}

/** Worker threads over one shared memory. */
export interface KernelPool {
  /** Threads that jobs are spread over. */
  readonly threads: number;
  /** Bytes that the memory has grown to. */
  readonly memoryBytes: number;
  /**
   * Sets bytes of shared memory aside; what they contain is undefined.
   *
   * @throws PithError `KERNEL_MEMORY_EXHAUSTED` when the cap leaves no room.
   */
  allocate(bytes: number): MemoryRegion;
  /** Gives a region back. Its views and address must not be used after. */
  free(region: MemoryRegion): void;
  /**
   * Runs the steps in order on one thread and returns the result of each. When it settles, failed or not, the job no
   * longer touches the memory.
   *
   * @throws PithError `FILE_TRUNCATED`, `FILE_READ_FAILED`, `FILE_WRITE_FAILED` (details: path, offset, length, errno),
   * `KERNEL_FAILED`, `KERNEL_RESULT`, `KERNEL_MEMORY_RANGE`, `KERNEL_WORKER_DIED`, `STOPPED`; details always carry the `step`.
   */
  run(steps: readonly JobStep[], options?: JobOptions): Promise<StepResult[]>;
  /**
   * Runs work on a pool whose memory a device can read and write without a copy: arrays of its regions lie in an ordinary
   * `ArrayBuffer`, and its kernels run on the calling thread. Where this pool has many threads, or the memory would be large, it
   * is this pool itself. Results are the same.
   *
   * @param bytes that the work sets aside at most, on top of 128 MiB. What is not touched takes no memory; what is stays for
   * the next such work.
   */
  near<T>(bytes: number, work: (pool: KernelPool) => Promise<T>): Promise<T>;
  /** Closes the files that threads keep open; each thread does so after its job in hand. */
  closeFiles(): Promise<void>;
  /** Fails the queued jobs, waits for the running ones, closes files and ends the threads. */
  dispose(): Promise<void>;
}

/** Makes a pool of kernel threads. Call `dispose` when done; an idle pool does not keep the process alive. */
export function createKernelPool(options: KernelPoolOptions = {}): KernelPool {
  return new WorkerPool(options, new URL('./kernel-worker.js', import.meta.url));
}

interface QueuedJob {
  readonly steps: readonly JobStep[];
  /** The step to begin with. */
  readonly first: number;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (outcome: JobOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** @internal The pool behind {@link createKernelPool}; `entry` is replaced in tests. */
export class WorkerPool implements KernelPool {
  readonly threads: number;
  readonly #entry: URL;
  readonly #module = compileKernels(true);
  readonly #memory: WasmMemory<SharedArrayBuffer>;
  readonly #maxBytes: number;
  readonly #allocator = new RegionAllocator(STATIC_BYTES);
  readonly #files = new FileCache();
  readonly #ahead: ReadAhead;
  readonly #kernels: Readonly<Record<string, unknown>>;
  readonly #idle: WorkerHandle[] = [];
  readonly #busy = new Map<WorkerHandle, Promise<void>>();
  readonly #queue: QueuedJob[] = [];
  #near: PrivatePool | undefined;
  #nearInUse = false;
  #disposed = false;

  constructor({ threads = availableParallelism(), maxBytes = DEFAULT_POOL_BYTES }: KernelPoolOptions, entry: URL) {
    requireInteger('threads', threads, 0, 1024);
    requireInteger('maxBytes', maxBytes, 2 * PAGE_BYTES, MAX_POOL_BYTES);
    this.threads = threads;
    this.#entry = entry;
    this.#maxBytes = Math.ceil(maxBytes / PAGE_BYTES) * PAGE_BYTES;
    this.#memory = createKernelMemory(true, this.#maxBytes);
    this.#ahead = new ReadAhead(this.#memory);
    this.#kernels = { ...instantiateKernels(this.#module, this.#memory) };
  }

  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
  }

  allocate(bytes: number): MemoryRegion {
    this.#requireOpen();
    requireInteger('bytes', bytes, 0, Number.MAX_SAFE_INTEGER);
    let at = this.#allocator.allocate(bytes);
    if (at === undefined) {
      this.#grow(bytes);
      at = this.#allocator.allocate(bytes);
    }
    if (at === undefined) throw this.#exhausted(bytes);
    return new MemoryRegion(this.#memory.buffer, at, bytes);
  }

  free(region: MemoryRegion): void {
    if (!this.#allocator.free(region.at)) throw notInUse(region);
  }

  async run(steps: readonly JobStep[], { signal, bytes = Infinity }: JobOptions = {}): Promise<StepResult[]> {
    this.#requireOpen();
    throwIfStopped(signal, 'kernel pool');
    // Each job in hand listens; that many have one signal is no leak, which Node would warn of.
    if (signal !== undefined) setMaxListeners(0, signal);
    const isStopped = (): boolean => signal?.aborted === true;
    if (this.threads === 0 || bytes < SERIAL_JOB_BYTES) {
      const host = { memory: this.#memory, kernels: this.#kernels, files: this.#files };
      return resultsOf(runSteps(host, steps, isStopped), signal);
    }
    const reads = leadingReads(steps);
    const read = reads === 0 ? [] : resultsOf(await this.#ahead.run(steps.slice(0, reads), isStopped), signal);
    if (reads > 0 && reads === steps.length) return read;
    this.#requireOpen();
    throwIfStopped(signal, 'kernel pool');
    return [...read, ...resultsOf(await this.#enqueue(steps, reads, signal), signal)];
  }

  async #enqueue(steps: readonly JobStep[], first: number, signal: AbortSignal | undefined): Promise<JobOutcome> {
    let leaveQueue: (() => void) | undefined;
    try {
      return await new Promise<JobOutcome>((resolve, reject) => {
        const job: QueuedJob = { steps, first, signal, resolve, reject };
        leaveQueue = () => {
          const index = this.#queue.indexOf(job);
          if (index < 0) return; // running: the worker ends it
          this.#queue.splice(index, 1);
          resolve({ kind: 'stopped' });
        };
        signal?.addEventListener('abort', leaveQueue);
        this.#queue.push(job);
        this.#dispatch();
      });
    } finally {
      if (leaveQueue) signal?.removeEventListener('abort', leaveQueue);
    }
  }

  async near<T>(bytes: number, work: (pool: KernelPool) => Promise<T>): Promise<T> {
    this.#requireOpen();
    const wanted = bytes + NEAR_SPARE_BYTES;
    const room = Math.min(MAX_NEAR_BYTES, this.#maxBytes);
    if (this.threads > FEW_THREADS || bytes > room || this.#nearInUse) return work(this);
    if (this.#near === undefined || this.#near.memoryBytes < wanted) this.#near = new PrivatePool(wanted);
    this.#nearInUse = true;
    try {
      return await work(this.#near);
    } finally {
      this.#nearInUse = false;
    }
  }

  async closeFiles(): Promise<void> {
    const failures = [closeFiles(this.#files)];
    const handles = [...this.#idle, ...this.#busy.keys()].filter((handle) => handle.alive);
    failures.push(...(await Promise.all(handles.map((handle) => handle.closeFiles()))));
    await this.#ahead.closeAll();
    const failure = failures.find((found) => found !== undefined);
    if (failure !== undefined) throw failureError(failure);
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#near = undefined;
    for (const job of this.#queue.splice(0)) job.reject(disposedError());
    await Promise.all(this.#busy.values());
    try {
      await this.closeFiles();
    } finally {
      await Promise.all(this.#idle.splice(0).map((handle) => handle.terminate()));
    }
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const handle = this.#freeHandle();
      const job = handle && this.#queue.shift();
      if (handle === undefined || job === undefined) return;
      const running = handle
        .run(job.steps, job.first, job.signal)
        .then(job.resolve, job.reject)
        .then(() => {
          this.#busy.delete(handle);
          if (handle.alive) this.#idle.push(handle);
          this.#dispatch();
        });
      this.#busy.set(handle, running);
    }
  }

  /** An idle thread, or a new one while there may be more. A thread that died is replaced. */
  #freeHandle(): WorkerHandle | undefined {
    while (this.#idle.length > 0) {
      const handle = this.#idle.pop();
      if (handle?.alive) return handle;
    }
    if (this.#busy.size >= this.threads) return undefined;
    return new WorkerHandle(this.#entry, { memory: this.#memory, module: this.#module });
  }

  #grow(bytes: number): void {
    const missing = this.#allocator.missingBytes(bytes);
    const pages = Math.ceil((this.#allocator.end + missing) / PAGE_BYTES) - this.memoryBytes / PAGE_BYTES;
    if (this.memoryBytes + pages * PAGE_BYTES > this.#maxBytes) throw this.#exhausted(bytes);
    try {
      this.#memory.grow(pages);
    } catch (cause) {
      throw this.#exhausted(bytes, cause);
    }
    this.#allocator.extend(this.memoryBytes);
  }

  #exhausted(bytes: number, cause?: unknown): PithError {
    return exhausted(bytes, this.#allocator.usedBytes, this.#maxBytes, cause);
  }

  #requireOpen(): void {
    if (this.#disposed) throw disposedError();
  }
}

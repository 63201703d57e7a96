// One worker thread of the pool, seen from the thread that started it: runs one job at a time and settles every promise
// it gave, also when the thread dies.
import { Worker } from 'node:worker_threads';
import { PithError } from '../errors/pith-error.ts';
import type { FromWorker, JobFailure, JobOutcome, JobStep, ToWorker, WorkerSetup } from './kernel-job.ts';

interface Waiting {
  readonly resolve: (message: FromWorker) => void;
  readonly reject: (error: PithError) => void;
}

/** A thread that runs jobs. It keeps the process alive only while a job is running. */
export class WorkerHandle {
  readonly #worker: Worker;
  readonly #stop: Int32Array;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #death: PithError | undefined;

  constructor(entry: URL, setup: Omit<WorkerSetup, 'stop'>) {
    this.#stop = new Int32Array(new SharedArrayBuffer(4));
    const workerData: WorkerSetup = { ...setup, stop: this.#stop };
    this.#worker = new Worker(entry, { workerData, name: 'pith kernels', execArgv: [] });
    this.#worker.unref();
    this.#worker.on('message', (message: FromWorker) => this.#settle(message));
    this.#worker.on('error', (cause) => this.#die(`with ${String(cause)}`, cause));
    this.#worker.on('exit', (code) => this.#die(`with exit code ${code}`));
  }

  /** False once the thread is gone. */
  get alive(): boolean {
    return this.#death === undefined;
  }

  /** Runs a job, from its step `first` on. When `signal` is aborted, the job is left off after the step in hand: memory is not touched after. */
  async run(steps: readonly JobStep[], first: number, signal?: AbortSignal): Promise<JobOutcome> {
    const id = this.#nextId++;
    const stop = () => void Atomics.store(this.#stop, 0, id);
    signal?.addEventListener('abort', stop);
    try {
      const message = await this.#ask({ kind: 'run', id, steps, first });
      if (message.kind !== 'ended') throw unexpected(message);
      return message.outcome;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /** Closes the files that the thread holds open. */
  async closeFiles(): Promise<JobFailure | undefined> {
    const message = await this.#ask({ kind: 'close-files', id: this.#nextId++ });
    if (message.kind !== 'files-closed') throw unexpected(message);
    return message.failure;
  }

  /** Ends the thread. What it was asked and has not answered fails. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(message: ToWorker): Promise<FromWorker> {
    return new Promise((resolve, reject) => {
      if (this.#death !== undefined) {
        reject(this.#death);
        return;
      }
      this.#waiting.set(message.id, { resolve, reject });
      this.#worker.ref();
      try {
        this.#worker.postMessage(message);
      } catch (cause) {
        this.#waiting.delete(message.id);
        if (this.#waiting.size === 0) this.#worker.unref();
        const text = 'kernel pool: the steps of a job must be plain data';
        reject(new PithError('KERNEL_JOB_INVALID', text, { kind: 'internal', cause }));
      }
    });
  }

  #settle(message: FromWorker): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    waiting?.resolve(message);
  }

  #die(how: string, cause?: unknown): void {
    this.#death ??= new PithError('KERNEL_WORKER_DIED', `kernel pool: a worker thread ended ${how}; its job is lost`, {
      kind: 'internal',
      cause,
    });
    for (const { reject } of this.#waiting.values()) reject(this.#death);
    this.#waiting.clear();
  }
}

function unexpected(message: FromWorker): PithError {
  return new PithError('KERNEL_JOB_INVALID', `kernel pool: unexpected answer ${message.kind}`, { kind: 'internal' });
}

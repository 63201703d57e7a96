// The reads that a job begins with, done by the threads that Node keeps for files, while the kernel threads work on other jobs: a
// thread that waits for a disk computes nothing.
import { open, type FileHandle } from 'node:fs/promises';
import type { WasmMemory } from '../kernels/web-assembly.ts';
import type { JobOutcome, JobStep, ReadStep } from './kernel-job.ts';
import { MAX_OPEN_FILES } from './file-cache.js';
import { failureOf, MAX_CALL_BYTES, truncated, viewOf } from './run-steps.js';

/** An open file and who uses it. */
interface OpenFile {
  readonly handle: Promise<FileHandle>;
  users: number;
  /** Closed by its last user. */
  leaving: boolean;
}

/** How many steps a job begins with that read. */
export function leadingReads(steps: readonly JobStep[]): number {
  const other = steps.findIndex(({ op }) => op !== 'read');
  return other < 0 ? steps.length : other;
}

/** Reads into one memory; files stay open until {@link ReadAhead.closeAll}. */
export class ReadAhead {
  readonly #memory: WasmMemory;
  readonly #files = new Map<string, OpenFile>();

  constructor(memory: WasmMemory) {
    this.#memory = memory;
  }

  /** Runs the steps that read, one after the other. */
  async run(steps: readonly JobStep[], shouldStop: () => boolean): Promise<JobOutcome> {
    const results: number[] = [];
    for (const [index, step] of steps.entries()) {
      if (shouldStop()) return { kind: 'stopped' };
      if (step.op !== 'read') break;
      try {
        results.push(await this.#read(step));
      } catch (error) {
        return { kind: 'failed', failure: failureOf(error, step, index) };
      }
    }
    return { kind: 'done', results };
  }

  /** Closes every file, those that are being read by their last reader. */
  async closeAll(): Promise<void> {
    for (const path of [...this.#files.keys()]) await this.#leave(path);
  }

  async #read(step: ReadStep): Promise<number> {
    const target = viewOf(this.#memory, step);
    const file = this.#fileAt(step.path);
    file.users += 1;
    try {
      const handle = await file.handle;
      let done = 0;
      while (done < step.length) {
        const wanted = Math.min(step.length - done, MAX_CALL_BYTES);
        const { bytesRead } = await handle.read(target, done, wanted, step.offset + done);
        if (bytesRead === 0) throw truncated(step, done);
        done += bytesRead;
      }
      return done;
    } finally {
      file.users -= 1;
      if (file.leaving && file.users === 0) await (await file.handle).close();
    }
  }

  #fileAt(path: string): OpenFile {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const [oldest] = this.#files.keys();
    if (oldest !== undefined && this.#files.size >= MAX_OPEN_FILES) void this.#leave(oldest);
    const file: OpenFile = { handle: open(path, 'r'), users: 0, leaving: false };
    // Who reads it is told; who comes later tries anew.
    file.handle.catch(() => this.#files.delete(path));
    this.#files.set(path, file);
    return file;
  }

  async #leave(path: string): Promise<void> {
    const file = this.#files.get(path)!;
    this.#files.delete(path);
    file.leaving = true;
    if (file.users === 0) await (await file.handle).close();
  }
}

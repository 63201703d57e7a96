// Runs the steps of one job, in a worker or on the calling thread. Plain JavaScript because the worker entry imports
// it before any build.
import { createHash } from 'node:crypto';
import { readSync, writeSync } from 'node:fs';

/** @typedef {import('./kernel-job.ts').JobStep} JobStep */
/** @typedef {import('./kernel-job.ts').ReadStep} ReadStep */
/** @typedef {import('./kernel-job.ts').WriteStep} WriteStep */
/** @typedef {import('./kernel-job.ts').JobFailure} JobFailure */
/** @typedef {import('./kernel-job.ts').JobOutcome} JobOutcome */
/** @typedef {import('../kernels/web-assembly.ts').WasmMemory} WasmMemory */

/** One system call moves at most 2^31 - 4096 bytes on Linux. */
export const MAX_CALL_BYTES = 2 ** 30;

/** What to do about an errno, where that can be said. */
const REMEDIES = new Map([
  ['ENOSPC', 'the disk is full: free some space and run again'],
  ['EDQUOT', 'the disk quota is used up: free some space and run again'],
  ['EACCES', 'permission is missing: change the permissions or choose another place'],
  ['EPERM', 'it is not permitted: change the permissions or choose another place'],
  ['EROFS', 'the file system is read-only: choose another place'],
  ['EISDIR', 'this is a directory: name a file'],
  ['ENOENT', 'there is no such file: check the path'],
  ['EMFILE', 'too many files are open: close some or raise the limit'],
  ['EIO', 'the disk reports an error: check it'],
]);

/** A failure of one step, on its way to the caller. */
class StepFailure extends Error {
  /** @param {JobFailure} failure */
  constructor(failure) {
    super(failure.message);
    this.failure = failure;
  }
}

/**
 * @param {{ memory: WasmMemory, kernels: Readonly<Record<string, unknown>>, files: import('./file-cache.js').FileCache }} host
 * @param {readonly JobStep[]} steps
 * @param {() => boolean} shouldStop asked before each step
 * @param {number} [first] the step to begin with
 * @returns {JobOutcome}
 */
export function runSteps(host, steps, shouldStop, first = 0) {
  /** @type {import('./kernel-job.ts').StepResult[]} */
  const results = [];
  for (const [index, step] of steps.entries()) {
    if (index < first) continue;
    if (shouldStop()) return { kind: 'stopped' };
    try {
      results.push(runStep(host, step));
    } catch (error) {
      return { kind: 'failed', failure: failureOf(error, step, index) };
    }
  }
  return { kind: 'done', results };
}

/**
 * Closes the files of a thread. Some file systems report a failed write only here.
 * @param {import('./file-cache.js').FileCache} files
 * @returns {JobFailure | undefined}
 */
export function closeFiles(files) {
  try {
    files.closeAll();
    return undefined;
  } catch (error) {
    const errno = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
    const message = `close files: closing failed with ${errno}; ${REMEDIES.get(errno) ?? 'what was written may be lost'}`;
    return { code: 'FILE_WRITE_FAILED', message, kind: 'input', details: { errno } };
  }
}

/**
 * @param {Parameters<typeof runSteps>[0]} host
 * @param {JobStep} step
 * @returns {import('./kernel-job.ts').StepResult}
 */
function runStep(host, step) {
  switch (step.op) {
    case 'read':
      return read(host.files.descriptor(step.path, 'r'), viewOf(host.memory, step), step);
    case 'write':
      return write(host.files.descriptor(step.path, 'r+'), viewOf(host.memory, step), step);
    case 'sha256':
      return createHash('sha256').update(viewOf(host.memory, step)).digest('hex');
    case 'call': {
      const kernel = host.kernels[step.kernel];
      if (typeof kernel !== 'function') {
        throw new StepFailure({
          code: 'KERNEL_UNKNOWN',
          message: `kernel pool: there is no kernel named ${step.kernel}`,
          kind: 'internal',
          details: {},
        });
      }
      const result = Number(kernel(...step.args) ?? 0);
      if (step.expect !== undefined && result !== step.expect) {
        throw new StepFailure({
          code: 'KERNEL_RESULT',
          message: `kernel pool: ${step.kernel} was expected to return ${step.expect}, got ${result}`,
          kind: 'internal',
          details: { result },
        });
      }
      return result;
    }
  }
}

/**
 * The bytes that a step names.
 * @param {WasmMemory} memory
 * @param {{ op: string, at: number, length: number }} step
 */
export function viewOf(memory, { op, at, length }) {
  let { buffer } = memory;
  if (at + length > buffer.byteLength) {
    memory.grow(0); // another thread may have grown it: makes the new length visible here
    buffer = memory.buffer;
  }
  const valid = Number.isSafeInteger(at) && Number.isSafeInteger(length) && at >= 0 && length >= 0;
  if (!valid || at + length > buffer.byteLength) {
    throw new StepFailure({
      code: 'KERNEL_MEMORY_RANGE',
      message: `kernel pool: ${op} of ${length} bytes at address ${at} leaves the memory of ${buffer.byteLength} bytes`,
      kind: 'internal',
      details: { at, length, memoryBytes: buffer.byteLength },
    });
  }
  return new Uint8Array(buffer, at, length);
}

/**
 * The file ends before the step has what it wants.
 * @param {ReadStep} step
 * @param {number} got
 */
export function truncated(step, got) {
  return new StepFailure({
    code: 'FILE_TRUNCATED',
    message:
      `read ${step.path}: ${step.length} bytes from offset ${step.offset} were expected, got ${got}; ` +
      'the file is shorter than it was: fetch it again',
    kind: 'input',
    details: { got },
  });
}

/**
 * @param {number} descriptor
 * @param {Uint8Array} target
 * @param {ReadStep} step
 */
function read(descriptor, target, step) {
  let done = 0;
  while (done < step.length) {
    const wanted = Math.min(step.length - done, MAX_CALL_BYTES);
    const got = readSync(descriptor, target, done, wanted, step.offset + done);
    if (got === 0) throw truncated(step, done);
    done += got;
  }
  return done;
}

/**
 * @param {number} descriptor
 * @param {Uint8Array} source
 * @param {WriteStep} step
 */
function write(descriptor, source, step) {
  let done = 0;
  while (done < step.length) {
    done += writeSync(descriptor, source, done, Math.min(step.length - done, MAX_CALL_BYTES), step.offset + done);
  }
  return done;
}

/**
 * Why a step failed, in a form that can be posted.
 * @param {unknown} error
 * @param {JobStep} step
 * @param {number} index
 * @returns {JobFailure}
 */
export function failureOf(error, step, index) {
  const where = { step: index, ...step };
  if (error instanceof StepFailure) return { ...error.failure, details: { ...where, ...error.failure.details } };
  const message = error instanceof Error ? error.message : String(error);
  if (step.op === 'read' || step.op === 'write') {
    const errno = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
    return {
      code: step.op === 'read' ? 'FILE_READ_FAILED' : 'FILE_WRITE_FAILED',
      message: `${step.op} ${step.path}: ${step.length} bytes at offset ${step.offset} failed with ${errno}; ${REMEDIES.get(errno) ?? message}`,
      kind: 'input',
      details: { ...where, errno },
    };
  }
  const name = step.op === 'call' ? step.kernel : step.op;
  return {
    code: 'KERNEL_FAILED',
    message: `kernel pool: step ${index} (${name}) failed: ${message}`,
    kind: 'internal',
    details: where,
  };
}

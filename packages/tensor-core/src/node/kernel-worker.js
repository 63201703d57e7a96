// Entry of a kernel worker thread. Plain JavaScript that imports Node's own modules and its neighbours only, so that it
// starts alike from the sources and from the build.
import { parentPort, workerData } from 'node:worker_threads';
import { FileCache } from './file-cache.js';
import { closeFiles, runSteps } from './run-steps.js';

/** @typedef {import('./kernel-job.ts').ToWorker} ToWorker */
/** @typedef {import('./kernel-job.ts').FromWorker} FromWorker */
/** @typedef {import('../kernels/web-assembly.ts').WasmMemory} WasmMemory */
/** @typedef {{ Instance: new (module: unknown, imports: object) => { exports: Record<string, unknown> } }} WasmApi */

const { memory, module, stop } = /** @type {import('./kernel-job.ts').WorkerSetup} */ (workerData);
const { Instance } = /** @type {{ WebAssembly: WasmApi }} */ (/** @type {unknown} */ (globalThis)).WebAssembly;
const host = {
  memory: /** @type {WasmMemory} */ (memory),
  kernels: new Instance(module, { env: { memory } }).exports,
  files: new FileCache(),
};

/** @param {FromWorker} message */
const reply = (message) => parentPort?.postMessage(message);

parentPort?.on('message', (/** @type {ToWorker} */ message) => {
  if (message.kind === 'close-files') {
    const failure = closeFiles(host.files);
    reply({ kind: 'files-closed', id: message.id, ...(failure && { failure }) });
    return;
  }
  const shouldStop = () => Atomics.load(stop, 0) === message.id;
  reply({ kind: 'ended', id: message.id, outcome: runSteps(host, message.steps, shouldStop, message.first) });
});

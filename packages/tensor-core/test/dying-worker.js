// A worker that ends itself when it gets a job of one step, for the test of a worker's death; it answers all else.
import { parentPort } from 'node:worker_threads';

parentPort?.on('message', (message) => {
  if (message.kind === 'close-files') parentPort?.postMessage({ kind: 'files-closed', id: message.id });
  else if (message.steps.length === 1) process.exit(7);
  else if (message.steps.length === 2) throw new TypeError('thrown in the worker');
  else parentPort?.postMessage({ kind: 'ended', id: message.id, outcome: { kind: 'done', results: [] } });
});

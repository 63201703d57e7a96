// Runs an ONNX model in the real runtime, in a process of its own: two copies of ONNX Runtime in one process share state.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { runtimeUrl } from '@pith-tooling/vitest/runtimes';

/** A tensor as onnxruntime-node names types: `int64`, `float32`, `float16` (as Uint16Array). */
export interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: ArrayLike<number> | BigInt64Array;
}

/** Stands for an output of the run before. */
export interface EarlierOutput {
  readonly output: string;
}

/** Inputs of one run by name. */
export type OrtFeeds = Readonly<Record<string, OrtTensor | EarlierOutput>>;

const SCRIPT = `
import { readFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
const { url, model, runs, options } = deserialize(readFileSync(0));
const ort = (await import(url)).default;
const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3, intraOpNumThreads: 1, ...options });
const results = [];
let out;
for (const feeds of runs) {
  const tensors = {};
  for (const [name, { type, dims, data, output }] of Object.entries(feeds)) {
    tensors[name] = output === undefined ? new ort.Tensor(type, data, dims) : out[output];
  }
  out = await session.run(tensors);
  results.push(Object.fromEntries(Object.entries(out).map(([name, { type, dims, data }]) => [name, { type, dims: [...dims], data }])));
}
process.stdout.write(serialize({ results, inputs: session.inputMetadata.map(({ name, type, shape }) => ({ name, type, shape })) }));
`;

/** What the runtime says of a model, and what it computes. */
export interface OrtOutcome {
  /** Outputs of each run. */
  readonly results: readonly Record<string, { type: string; dims: number[]; data: Float32Array }>[];
  /** Declared inputs. */
  readonly inputs: readonly { name: string; type: string; shape: (number | string)[] }[];
}

/** Loads a model and runs it once with each of the feeds. `options` are those of a session. */
export function runOnnx(
  model: string,
  runs: readonly OrtFeeds[],
  options: Readonly<Record<string, unknown>> = {},
): OrtOutcome {
  const input = serialize({ url: runtimeUrl('onnxruntime-node'), model, runs, options });
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', SCRIPT], { input, maxBuffer: 2 ** 30 });
  return deserialize(output) as OrtOutcome;
}

/** A directory that is removed when the test ends. */
export function withDirectory<T>(run: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'pith-onnx-'));
  return run(directory).finally(() => rmSync(directory, { recursive: true, force: true }));
}

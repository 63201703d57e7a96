// llama.cpp for tests: node-llama-cpp in a process of its own (`llama.fixture.mjs`), which ends with what it holds.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { runtimeUrl } from '@pith-tooling/vitest/runtimes';

/** A file and what is asked about it: see `llama.fixture.mjs`. */
export interface LlamaJob {
  readonly path: string;
  readonly [question: string]: unknown;
}

/** Answers to jobs, in order; a job with several questions has as many answers. */
export function runLlama<Answer>(jobs: readonly LlamaJob[]): Answer[] {
  const script = fileURLToPath(new URL('llama.fixture.mjs', import.meta.url));
  const args = [script, runtimeUrl('node-llama-cpp'), ...jobs.map((job) => JSON.stringify(job))];
  const text = execFileSync(process.execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 28,
  });
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Answer);
}

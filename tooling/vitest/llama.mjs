// llama.cpp for tests: node-llama-cpp in a process of its own (`llama-process.mjs`), which ends with what it holds.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { runtimeUrl } from './runtimes.mjs';

/**
 * Answers to jobs, in order; a job with several questions has as many answers.
 * @param {readonly import('./llama.d.ts').LlamaJob[]} jobs
 */
export function runLlama(jobs) {
  const script = fileURLToPath(new URL('llama-process.mjs', import.meta.url));
  const args = [script, runtimeUrl('node-llama-cpp'), ...jobs.map((job) => JSON.stringify(job))];
  const text = execFileSync(process.execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 28,
  });
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

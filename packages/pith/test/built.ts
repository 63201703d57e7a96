// The built command line as a process of its own.
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The entry of the built command line. */
export const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
/** The program as npm links it. */
export const program = fileURLToPath(new URL('../bin/pith.js', import.meta.url));
if (!existsSync(main)) throw new Error(`the command line is not built: run "npx turbo run build --filter=pith" first`);

/** How a process ended. */
export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process and its end. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Starts a program and gathers what it writes. */
export function start(command: string, args: readonly string[], options: SpawnOptions = {}): Running {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject).on('close', (status, signal) => resolve({ status, signal, ...output }));
  });
  return { child, ended };
}

/** Starts the command line. */
export function startPith(args: readonly string[], options: SpawnOptions = {}): Running {
  return start(process.execPath, [main, ...args], options);
}

/** Runs the command line to its end. */
export function pith(...args: string[]): Promise<Ended> {
  return startPith(args).ended;
}

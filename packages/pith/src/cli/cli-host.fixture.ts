// A process for tests: what was written is kept, Ctrl-C is pressed by hand.
import { runCli } from './program.ts';
import type { CliHost } from './session.ts';

/** What a command line did. */
export interface CliRun {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A host that keeps what is written. */
export function testHost(environment: NodeJS.ProcessEnv = {}, isTTY = false) {
  const written = { stdout: '', stderr: '' };
  const interrupts = new Set<() => void>();
  const host: CliHost = {
    stdout: { write: (text) => (written.stdout += text), isTTY, columns: 100 },
    stderr: { write: (text) => (written.stderr += text), isTTY: false, columns: 100 },
    environment,
    onInterrupt: (interrupt) => {
      interrupts.add(interrupt);
      return () => interrupts.delete(interrupt);
    },
  };
  return {
    host,
    written,
    interrupt: () => {
      for (const interrupt of interrupts) interrupt();
    },
  };
}

/** Runs a command line in this process. */
export async function cli(...args: string[]): Promise<CliRun> {
  const { host, written } = testHost();
  const exitCode = await runCli(args, host);
  return { exitCode, ...written };
}

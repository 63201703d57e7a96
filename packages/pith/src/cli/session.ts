// What every command runs inside: streams, a signal that Ctrl-C aborts, progress, and one place where a result or a
// failure leaves the process.
import type { ProgressListener } from '@pith/tensor-core';
import { EXIT, reportFailure } from './failure.ts';
import type { ProgressView } from './progress.ts';
import { createTerminal, type TextStream } from './terminal.ts';
import type { Style, Terminal } from './terminal.ts';

/** What the command line touches of its process; tests give their own. */
export interface CliHost {
  readonly stdout: TextStream;
  readonly stderr: TextStream;
  readonly environment: NodeJS.ProcessEnv;
  /** Calls `interrupt` at the first Ctrl-C, and leaves the next one to the system; returns how to stop listening. */
  onInterrupt(interrupt: () => void): () => void;
}

/** Options that every command takes. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** What a command works with. */
export interface Session {
  readonly terminal: Terminal;
  readonly json: boolean;
  readonly quiet: boolean;
  /** Aborted by the first Ctrl-C. */
  readonly signal: AbortSignal;
  readonly progress: ProgressListener;
  /** Tells people what was done other than asked for; also with `--quiet`. */
  readonly notice: (text: string) => void;
  /** Text for people: to stdout, or to stderr where stdout belongs to JSON; nothing with `--quiet`. */
  say(text: string): void;
  /** Styles text for the stream that `say` writes to. */
  style(style: Style, text: string): string;
}

/** What a command hands back. */
export interface Outcome {
  /** The one document of `--json`. */
  readonly json: object;
  /** The same for people; printed also with `--quiet`, which silences only what comes before. */
  readonly text: string;
  /** 0 when left out. */
  readonly exitCode?: number;
}

/** Runs a command and returns the exit status. */
export async function runSession(
  host: CliHost,
  options: CommonOptions,
  command: (session: Session) => Promise<Outcome>,
): Promise<number> {
  const terminal = createTerminal(host.stdout, host.stderr, host.environment);
  const json = options.json === true;
  const quiet = options.quiet === true;
  const shown: { view?: ProgressView } = {};
  const abort = new AbortController();
  const ignoreInterrupts = host.onInterrupt(() => {
    abort.abort();
    shown.view?.finish();
    if (!quiet) host.stderr.write('Stopping; press Ctrl-C again to leave at once.\n');
  });
  // A pseudo-terminal without a size, and one that cannot move its cursor, show no live line: plain ones do there.
  const sized = host.stderr.columns !== 0 && host.stderr.rows !== 0;
  const shows = host.stderr.isTTY === true && sized && host.environment['TERM'] !== 'dumb';
  const live = shows && !quiet ? await loadLiveLine(host.stderr) : undefined;
  const { createProgressView } = await import('./progress.ts');
  const view = createProgressView(terminal, live);
  shown.view = view;
  const people = json ? host.stderr : host.stdout;
  const session: Session = {
    terminal,
    json,
    quiet,
    signal: abort.signal,
    notice: (text) => {
      shown.view?.finish();
      host.stderr.write(`${terminal.paint(host.stderr, 'yellow', 'note')} ${text}\n`);
    },
    progress: quiet ? () => undefined : view.listener,
    say: (text) => {
      if (!quiet) people.write(text);
    },
    style: (style, text) => terminal.paint(people, style, text),
  };
  try {
    const outcome = await command(session);
    view.finish();
    host.stdout.write(json ? JSON.stringify(outcome.json, null, 2) + '\n' : outcome.text);
    return outcome.exitCode ?? EXIT.done;
  } catch (error) {
    view.finish();
    return printFailure(host, json, error);
  } finally {
    ignoreInterrupts();
  }
}

/** Prints a failure where it belongs and returns the exit status. */
export function printFailure(
  host: Pick<CliHost, 'stdout' | 'stderr' | 'environment'>,
  json: boolean,
  error: unknown,
): number {
  const { failure, exitCode } = reportFailure(error);
  const terminal = createTerminal(host.stdout, host.stderr, host.environment);
  if (json) host.stdout.write(JSON.stringify({ error: failure }, null, 2) + '\n');
  const label =
    exitCode === EXIT.stopped
      ? terminal.paint(host.stderr, 'yellow', 'stopped')
      : terminal.paint(host.stderr, 'red', 'error');
  host.stderr.write(`${label} ${failure.message} ${terminal.paint(host.stderr, 'dim', `(${failure.code})`)}\n`);
  if (exitCode === EXIT.fault && typeof failure.details['stack'] === 'string') {
    host.stderr.write(`${failure.details['stack']}\nThis is a fault of Pith, not of your input.\n`);
  }
  return exitCode;
}

async function loadLiveLine(stream: TextStream): Promise<{ (text: string): void; clear(): void }> {
  const { createLogUpdate } = await import('log-update');
  return createLogUpdate(stream as NodeJS.WriteStream, { showCursor: true });
}

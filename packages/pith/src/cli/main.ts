// The program `pith`. Kept small: what a command needs is loaded when that command runs.
import { EXIT } from './failure.ts';
import { onFirstInterrupt } from './interrupts.ts';
import { runCli } from './program.ts';
import { keepWorking } from './standard-streams.ts';

let lost = false;
keepWorking(process, (message) => {
  lost = true;
  process.stderr.write(`error ${message} (STDOUT_NOT_WRITABLE)\n`);
  process.exitCode ||= EXIT.input;
});

const status = await runCli(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  environment: process.env,
  onInterrupt: (interrupt) => onFirstInterrupt(process, interrupt),
});
process.exitCode = status === EXIT.done && lost ? EXIT.input : status;

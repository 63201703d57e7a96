// The program `pith`. Kept small: what a command needs is loaded when that command runs.
import { runCli } from './program.ts';

// A reader that has seen enough (`pith inspect m | head`) must not end the work.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  environment: process.env,
  onInterrupt: (interrupt) => {
    process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
    return () => process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  },
  exit: (code) => process.exit(code),
});

// Flags that several commands share, said once.
import { Option, type Command } from 'commander';
import { byteSize, wholeNumber } from './values.ts';

/** Parsed flags of {@link addCommonOptions}. */
export interface SharedFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly seed?: number;
  readonly memory?: number;
  readonly device?: string;
  readonly threads?: number;
}

/** Flags that every command takes. */
export function addCommonOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document on stdout and everything else on stderr')
    .option('--quiet', 'print the result only')
    .option('--seed <n>', 'seed of everything random (default: 0)', wholeNumber('--seed', 0))
    .option('--memory <size>', 'memory that may be used, such as 500MB or 2GB', byteSize('--memory'))
    .addOption(new Option('--device <name>', 'where to compute (default: cpu)').choices(['cpu']))
    .option(
      '--threads <n>',
      'threads to compute with (default: one for each processor)',
      wholeNumber('--threads', 1, 256),
    );
}

/** Appends examples to the help of a command. */
export function addExamples(command: Command, examples: readonly (readonly [line: string, what: string])[]): Command {
  const text = examples.map(([line, what]) => `  # ${what}\n  $ ${line}\n`).join('\n');
  return command.addHelpText('after', `\nExamples:\n${text}`);
}

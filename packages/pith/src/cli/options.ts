// Flags that several commands share, said once.
import { Option, type Command } from 'commander';
import { byteSize, collect, wholeNumber } from './values.ts';

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

/** Parsed flags of {@link addQuantizeOptions}. */
export interface QuantizeFlags extends SharedFlags {
  readonly method?: string;
  readonly scheme?: string;
  readonly range?: string;
  readonly scaleDtype?: string;
  readonly include?: readonly string[];
  readonly ignore?: readonly string[];
  readonly format?: string;
  readonly shardSize?: number;
}

/** Flags that `plan` and `quantize` share. */
export function addQuantizeOptions(command: Command): Command {
  return command
    .option('--method <name>', 'rtn: round to nearest (default: rtn)')
    .option(
      '--scheme <name>',
      'bits, group size and kind of the codes: w4g128, w4g128-asym, w8, w8-tensor, fp8 (default: w4g128)',
    )
    .option('--range <name>', 'range of the codes: minmax, absmax, percentile:99.9, rms:K, mse, lp:P (default: minmax)')
    .option('--scale-dtype <name>', 'dtype of stored scales: f16, bf16, f32 (default: that of the weights)')
    .option('--include <pattern>', 'quantize only modules that match; may be given again', collect)
    .option('--ignore <pattern>', 'keep modules that match; may be given again', collect)
    .option('--format <name>', 'format of the artefact: compressed-tensors (default: compressed-tensors)')
    .option('--shard-size <size>', 'most bytes of tensors in a file (default: 5GB)', byteSize('--shard-size'));
}

/** Appends examples to the help of a command. */
export function addExamples(command: Command, examples: readonly (readonly [line: string, what: string])[]): Command {
  const text = examples.map(([line, what]) => `  # ${what}\n  $ ${line}\n`).join('\n');
  return command.addHelpText('after', `\nExamples:\n${text}`);
}

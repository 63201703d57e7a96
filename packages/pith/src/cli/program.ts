// The commands and their flags. Nothing here loads what a command needs to run: each action imports it when called.
import { Command, CommanderError } from 'commander';
import { version } from '../version.ts';
import { registerDoctor } from './commands/doctor.ts';
import { registerEval } from './commands/eval.ts';
import { registerExport } from './commands/export.ts';
import { registerGenerate } from './commands/generate.ts';
import { registerInspect } from './commands/inspect.ts';
import { registerLogits } from './commands/logits.ts';
import { registerPlan } from './commands/plan.ts';
import { registerPush } from './commands/push.ts';
import { registerQuantize } from './commands/quantize.ts';
import { registerCompress, registerDistill, registerFactorize, registerPrune } from './commands/stages.ts';
import { registerVerify } from './commands/verify.ts';
import { EXIT, UsageError } from './failure.ts';
import { addExamples } from './options.ts';
import { printFailure, runSession, type CliHost, type CommonOptions, type Outcome, type Session } from './session.ts';

/** Runs a command's work inside a session; given to each command's registration. */
export type RunCommand = (options: CommonOptions, work: (session: Session) => Promise<Outcome>) => Promise<void>;

/** Runs the command line and returns the exit status. `args` are those after the program's name. */
export async function runCli(args: readonly string[], host: CliHost): Promise<number> {
  let exitCode: number = EXIT.done;
  const program = createProgram(host, async (options, work) => {
    exitCode = await runSession(host, options, work);
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.done;
      return printFailure(host, wantsJson(args), usageError(error));
    }
    return printFailure(host, wantsJson(args), error);
  }
}

function createProgram(host: CliHost, run: RunCommand): Command {
  const program = new Command('pith')
    .description('Makes large language models smaller.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help of a command')
    .showSuggestionAfterError(true)
    .showHelpAfterError(false);
  for (const register of [
    registerInspect,
    registerPlan,
    registerQuantize,
    registerPrune,
    registerFactorize,
    registerDistill,
    registerCompress,
    registerExport,
    registerEval,
    registerGenerate,
    registerLogits,
    registerVerify,
    registerPush,
    registerDoctor,
  ]) {
    register(program, run);
  }
  addExamples(program, [
    ['pith inspect ./model', 'what is in a checkpoint'],
    ['pith quantize ./model -o ./small --scheme w4g128', 'make it smaller'],
    ['pith eval ./small --data text.txt --reference ./model', 'what that cost in quality'],
  ]);
  program.addHelpText(
    'after',
    '\nExit status: 0 done, 1 a fault of Pith, 2 input or options are wrong, 3 stopped (run again to resume).',
  );
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: () => undefined,
      getOutHasColors: () => false,
      getOutHelpWidth: () => host.stdout.columns ?? 100,
    });
  }
  return program;
}

/** The flag is looked for by hand where the command line could not be parsed. */
function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return (end < 0 ? args : args.slice(0, end)).includes('--json');
}

function usageError(error: CommanderError): UsageError {
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\n\(?(.*?)\)?$/, '; $1')
    .trim();
  const code = `CLI_${error.code
    .replace(/^commander\./, '')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toUpperCase()}`;
  if (error.code === 'commander.help')
    return new UsageError('CLI_NO_COMMAND', 'pith: a command is missing; see pith --help');
  return new UsageError(code, `${message}; see pith --help`);
}

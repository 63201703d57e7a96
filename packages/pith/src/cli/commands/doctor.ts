import type { Command } from 'commander';
import { EXIT } from '../failure.ts';
import { addCommonOptions, addExamples, type SharedFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';

/** `pith doctor`. */
export function registerDoctor(program: Command, run: RunCommand): void {
  const command = program
    .command('doctor')
    .summary('whether this machine can do the work')
    .description(
      'Checks what Pith needs of this machine and says how to mend what is missing. Exit status 2 when something is.',
    );
  addCommonOptions(command).action((flags: SharedFlags) =>
    run(flags, async (session) => {
      const { doctor } = await import('../../doctor/doctor.ts');
      const report = await doctor({ signal: session.signal });
      const width = Math.max(...report.checks.map((check) => check.name.length));
      const text = report.checks
        .map((check) => {
          const mark = check.ok ? session.style('green', 'ok     ') : session.style('red', 'problem');
          return `${mark}  ${check.name.padEnd(width)}  ${check.found}${check.remedy === undefined ? '' : `; ${check.remedy}`}\n`;
        })
        .join('');
      return { json: report, text, exitCode: report.ok ? EXIT.done : EXIT.input };
    }),
  );
  addExamples(command, [['pith doctor', 'before the first run, or when one fails']]);
}

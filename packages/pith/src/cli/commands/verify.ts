import type { Command } from 'commander';
import type { Verification } from '../../verify/verify.ts';
import { EXIT } from '../failure.ts';
import { formatBytes, plural } from '../../format.ts';
import { addCommonOptions, addExamples, type SharedFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';
import type { Session } from '../session.ts';

/** `pith verify <out>`. */
export function registerVerify(program: Command, run: RunCommand): void {
  const command = program
    .command('verify')
    .summary('an artefact against its receipt')
    .description(
      'Hashes an artefact and compares it with its receipt. Names what is damaged, missing or extra. Exit status 2 when it differs.',
    )
    .argument('<artefact>', 'directory or file that Pith has written, or a hub id: org/name[@revision][:file]');
  addCommonOptions(command).action((artefact: string, flags: SharedFlags) =>
    run(flags, async (session) => {
      const { verify } = await import('../../verify/verify.ts');
      const result = await verify(artefact, {
        ...(flags.threads === undefined ? {} : { threads: flags.threads }),
        signal: session.signal,
        progress: session.progress,
      });
      return {
        json: result,
        text: describeVerification(result, session),
        exitCode: result.ok ? EXIT.done : EXIT.input,
      };
    }),
  );
  addExamples(command, [
    ['pith verify ./small', 'after a download or a copy'],
    ['pith verify me/name-w4', 'one that was pushed: fetched into the cache and hashed'],
    ["pith verify ./small --json | jq '.problems'", 'what is wrong, for a script'],
  ]);
}

function describeVerification(result: Verification, session: Session): string {
  // Formats beside compressed-tensors have hashes of files alone.
  const tensors = result.tensors === 0 ? '' : `${plural(result.tensors, 'tensor')} and `;
  const what = `${tensors}${plural(result.files, 'file')}, ${formatBytes(result.bytes)}`;
  if (result.ok) return `${session.style('green', 'intact')} ${what}\n`;
  const lines = result.problems.map((problem) => `  ${problem.message}\n`).join('');
  return `${session.style('red', 'differs from its receipt')} ${what} checked\n${lines}`;
}

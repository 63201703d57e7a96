import type { Command } from 'commander';
import { formatBytes, formatFacts, formatTable, plural } from '../../format.ts';
import type { PushOptions, PushPlan, PushResult } from '../../push/push.ts';
import { addCommonOptions, addExamples, type SharedFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';
import type { Session } from '../session.ts';

interface Flags
  extends SharedFlags, Pick<PushOptions, 'private' | 'revision' | 'message' | 'baseModel' | 'license' | 'dryRun'> {}

/** `pith push <artefact> <org/name>`. */
export function registerPush(program: Command, run: RunCommand): void {
  const command = program
    .command('push')
    .summary('upload an artefact to a hub, with a model card')
    .description(
      'Uploads an artefact as one commit, with a model card made from its receipt. Refuses an artefact that is not what its receipt ' +
        'says. The token is that of HF_TOKEN, or of a login.',
    )
    .argument('<artefact>', 'directory or file that Pith has written')
    .argument('<repository>', 'org/name; made where it does not exist')
    .option('--private', 'make the repository private; refuse one that is public')
    .option('--revision <branch>', 'branch, made where it does not exist (default: main)')
    .option('--message <text>', 'title of the commit')
    .option('--base-model <id>', 'org/name of the model that it was made of (default: as the receipt says)')
    .option('--license <id>', 'licence for the card, such as apache-2.0 (default: that of the base model)')
    .option('--dry-run', 'say what would be uploaded, print the card, and upload nothing');
  addCommonOptions(command).action((artefact: string, repository: string, flags: Flags) =>
    run(flags, async (session) => {
      const { push } = await import('../../push/push.ts');
      const { private: isPrivate, revision, message, baseModel, license, dryRun, threads } = flags;
      const result = await push(artefact, repository, {
        ...(isPrivate !== undefined && { private: isPrivate }),
        ...(revision !== undefined && { revision }),
        ...(message !== undefined && { message }),
        ...(baseModel !== undefined && { baseModel }),
        ...(license !== undefined && { license }),
        ...(dryRun !== undefined && { dryRun }),
        ...(threads !== undefined && { threads }),
        signal: session.signal,
        progress: session.progress,
        notice: session.notice,
        onPlan: (plan) => session.say(describePlan(plan, session)),
      });
      return { json: result, text: describeResult(result, session) };
    }),
  );
  addExamples(command, [
    ['pith push ./small org/small --private', 'upload for yourself'],
    ['pith push ./small org/small --dry-run', 'what would be uploaded, and the card'],
  ]);
}

function describePlan({ files, bytes, notices }: PushPlan, session: Pick<Session, 'style'>): string {
  const table = formatTable(
    [{ title: 'file' }, { title: 'bytes', align: 'right' }],
    files.map(({ path, bytes: size }) => [path, formatBytes(size)]),
  );
  const lines = notices.map((notice) => `${session.style('yellow', 'note')} ${notice}\n`).join('');
  return `${table}\n${plural(files.length, 'file')}, ${formatBytes(bytes)}\n${lines}`;
}

function describeResult(result: PushResult, session: Pick<Session, 'style'>): string {
  if (result.commit === null) return `\n${result.card}\n${session.style('yellow', 'nothing was uploaded')}\n`;
  return `${session.style('green', 'done')}\n${formatFacts([
    ['repository', `${result.url}${result.created ? ' (new)' : ''}`],
    ['revision', result.revision],
    ['commit', result.commit],
  ])}`;
}

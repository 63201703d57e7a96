// `pith prune`, `pith factorize` and `pith compress`: runs of stages.
import type { Command } from 'commander';
import type { StageKind } from '../../recipe/stage-kinds.ts';
import type { CompressOptions } from '../../run/compress.ts';
import type { StageRunOptions } from '../../run/stage-commands.ts';
import { UsageError } from '../failure.ts';
import { addCommonOptions, addExamples } from '../options.ts';
import type { RunCommand } from '../program.ts';
import { announcePlan, describeResult } from '../run-view.ts';
import { collect } from '../values.ts';
import {
  addArtefactFlags,
  addCalibrationFlags,
  addDataFlag,
  addOutputFlags,
  addStageFlags,
  METHOD_KINDS,
  runOptions,
  stageOptions,
  type Flags,
} from '../stage-flags.ts';

const RESUMES = 'When it is stopped or killed, the same command again continues and ends with the same bytes.';

/** `pith prune <model> -o <out>`. */
export function registerPrune(program: Command, run: RunCommand): void {
  const command = program
    .command('prune')
    .summary('remove weights, or whole layers, neurons, heads and experts')
    .description(`Removes what matters least. ${RESUMES}`)
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]');
  addStageCommand(command, 'prune', run);
  addExamples(command, [
    [
      'pith prune ./model -o ./small --structure layers=2,neurons=0.25 --calibration text.txt',
      'smaller tensors, a plain model',
    ],
  ]);
}

/** `pith factorize <model> -o <out>`. */
export function registerFactorize(program: Command, run: RunCommand): void {
  const command = program
    .command('factorize')
    .summary('replace matrices by products of smaller ones')
    .description(`Replaces the linear layers by two smaller ones each. ${RESUMES}`)
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]');
  addStageCommand(command, 'factorize', run);
  addExamples(command, [
    ['pith factorize ./model -o ./small --method svd --ratio 0.2', 'a fifth of the parameters less'],
    [
      'pith factorize ./model -o ./small --method whitened-svd --ratio 0.2 --calibration text.txt',
      'the same, with an eye on the inputs',
    ],
  ]);
}

/** `pith distill <teacher> --student <what> -o <out>`. */
export function registerDistill(program: Command, run: RunCommand): void {
  const command = program
    .command('distill')
    .summary('train a student by what a teacher says')
    .description(`Trains a student on a text and on what the teacher says about it. ${RESUMES}`)
    .argument('<teacher>', 'directory of a checkpoint, or a hub id: org/name[@revision]')
    .option('--teacher <model>', 'a further teacher, alike; may be given again', collect);
  addStageCommand(command, 'distill', run);
  addExamples(command, [
    [
      'pith distill ./model --student layers=0,2,4 --data text.txt --steps 500 -o ./small',
      'some layers of the teacher',
    ],
    [
      'pith distill ./model --student ./pruned --data text.txt --steps 500 --loss kl:T=2,hard:0.1 -o ./small',
      'a pruned model recovers',
    ],
  ]);
}

function addStageCommand(command: Command, kind: StageKind, run: RunCommand): void {
  addOutputFlags(command);
  addStageFlags(command, [kind]);
  if (kind !== 'distill') addCalibrationFlags(command);
  if (kind !== 'factorize') addDataFlag(command);
  addCommonOptions(addArtefactFlags(command)).action((model: string, flags: Flags) =>
    run(flags, async (session) => {
      const { runStage } = await import('../../run/stage-commands.ts');
      const result = await runStage(kind, model, {
        ...requireMethod(kind, stageOptions(kind, flags)),
        ...runOptions(flags),
        ...studentOptions(kind, flags),
        signal: session.signal,
        notice: session.notice,
        progress: session.progress,
        onPlan: announcePlan(session),
      } as StageRunOptions);
      return { json: result, text: describeResult(result, session) };
    }),
  );
}

/** A student that is a checkpoint is a model to start from; further teachers are models too. */
export function studentOptions(kind: StageKind, flags: Flags): Record<string, unknown> {
  if (kind !== 'distill') return {};
  const { student, teacher } = flags;
  const isModel = typeof student === 'string' && student !== 'model' && !/^layers=|\.json$/.test(student);
  return {
    ...(isModel && { student: 'model', studentModel: student }),
    ...(teacher !== undefined && { furtherTeachers: teacher }),
  };
}

/** `--structure` says the method by itself; others are named. */
export function requireMethod(kind: StageKind, options: Record<string, unknown>): Record<string, unknown> {
  if (options['method'] !== undefined) return options;
  if (kind === 'quantize') return { method: 'rtn', ...options };
  if (kind === 'distill') return { method: 'offline', ...options };
  if (['layers', 'neurons', 'kvGroups', 'experts'].some((name) => name in options))
    return { method: 'structure', ...options };
  const known = Object.entries(METHOD_KINDS).flatMap(([method, of]) => (of === kind ? [method] : []));
  throw new UsageError('METHOD_MISSING', `--method: must be named, one of ${known.join(', ')}`, { known });
}

/** `pith compress <model> -r recipe.yaml -o <out>`. */
export function registerCompress(program: Command, run: RunCommand): void {
  const command = program
    .command('compress')
    .summary('several techniques after each other, as a recipe says')
    .description(`Carries out a recipe of stages. Paths in it count from its directory. ${RESUMES}`)
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]')
    .requiredOption('-r, --recipe <file>', 'recipe in YAML');
  addOutputFlags(command);
  addCommonOptions(command).action((model: string, flags: Flags) =>
    run(flags, async (session) => {
      const { compress } = await import('../../run/compress.ts');
      const result = await compress(model, {
        ...recipeOptions(flags),
        ...runOptions(flags),
        signal: session.signal,
        notice: session.notice,
        progress: session.progress,
        onPlan: announcePlan(session),
      } as CompressOptions);
      return { json: result, text: describeResult(result, session) };
    }),
  );
  addExamples(command, [
    ['pith compress ./model -r recipe.yaml -o ./small', 'what the recipe says, from plan to receipt'],
  ]);
}

/** The recipe of parsed flags. @throws UsageError for a seed, which the recipe has. */
export function recipeOptions(flags: Flags): { readonly recipe: string } {
  if (flags['seed'] !== undefined) {
    throw new UsageError('OPTION_CONTRADICTS', '--seed: the recipe has a seed of its own; write it there', {});
  }
  return { recipe: String(flags['recipe']) };
}

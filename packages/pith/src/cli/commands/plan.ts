import type { Command } from 'commander';
import { problemLines } from '../../plan/problem-lines.ts';
import type { Plan, PlanOptions } from '../../plan/types.ts';
import type { StageKind } from '../../recipe/stage-kinds.ts';
import type { RecipeOptions } from '../../run/compress.ts';
import { STAGE_KINDS } from '../../recipe/stage-kinds.ts';
import { EXIT, UsageError } from '../failure.ts';
import { formatBytes, formatTable } from '../../format.ts';
import { addCommonOptions, addExamples } from '../options.ts';
import type { RunCommand } from '../program.ts';
import { describeTotals } from '../run-view.ts';
import type { Session } from '../session.ts';
import {
  addArtefactFlags,
  addCalibrationFlags,
  addDataFlag,
  addStageFlags,
  exportOptions,
  kindOf,
  runOptions,
  stageOptions,
  strayFlags,
  type Flags,
} from '../stage-flags.ts';
import { collect } from '../values.ts';
import { recipeOptions, requireMethod, studentOptions } from './stages.ts';
import type { ExportPlanOptions } from '../../export/export-model.ts';

/** `pith plan <model>`. */
export function registerPlan(program: Command, run: RunCommand): void {
  const command = program
    .command('plan')
    .summary('what a command or a recipe would do to each tensor, in bytes, before any work')
    .description(
      'Takes the flags of quantize, prune, factorize and distill, those of export where --format is one of its formats, or a recipe. Says what will happen to each tensor, what will not ' +
        'and why, the output size, the memory and the time it takes. Reads headers only. Exit status 2 when something does not fit.',
    )
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]')
    .option('-r, --recipe <file>', 'recipe in YAML');
  addStageFlags(command, [...STAGE_KINDS]);
  command
    .option('--teacher <model>', 'distill: a further teacher, directory or hub id; may be given again', collect)
    .option('-o, --output <path>', 'export: what would be created; its name is part of some files')
    .option('--imatrix <file>', "export: llama.cpp's importance matrix");
  addCommonOptions(addArtefactFlags(addDataFlag(addCalibrationFlags(command)))).action((model: string, flags: Flags) =>
    run(flags, async (session) => {
      const made = await planOf(model, flags, session);
      return {
        json: made,
        text: describePlan(made, session) + describeProblems(made, session),
        exitCode: made.problems.length > 0 ? EXIT.input : EXIT.done,
      };
    }),
  );
  addExamples(command, [
    ['pith plan ./model --scheme w4g128', 'what 4 bits with groups of 128 would give'],
    ['pith plan ./model -r recipe.yaml', 'what a recipe would do'],
    ['pith plan ./model --format gguf:q4_k_m', 'what an export would write, and the memory it takes'],
    ["pith plan ./model --scheme w4g64 --json | jq '.problems'", 'everything that does not fit, for a script'],
  ]);
}

async function planOf(model: string, flags: Flags, { signal, progress, notice }: Session): Promise<Plan> {
  const { recipe, method, ...rest } = flags;
  const { memoryBytes, threads, ...options } = runOptions(flags);
  const run = { signal, progress, notice };
  const limits = {
    ...run,
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(threads !== undefined && { threads }),
  };
  if (recipe !== undefined) {
    const stray = STAGE_KINDS.flatMap((kind) => Object.keys(stageOptions(kind, rest)));
    if (method !== undefined || stray.length > 0) {
      throw new UsageError(
        'OPTION_CONTRADICTS',
        '--recipe: says what is done; leave the flags of methods out, or the recipe',
        {},
      );
    }
    const { planRecipe } = await import('../../run/compress.ts');
    return planRecipe(model, { ...recipeOptions(flags), ...limits } as unknown as RecipeOptions);
  }
  if (await namesExport(flags)) return planOfExport(model, flags, run);
  const kind: StageKind = await kindOf(flags);
  const stray = strayFlags(kind, flags);
  if (stray.length > 0) {
    throw new UsageError(
      'OPTION_CONTRADICTS',
      `${stray.join(', ')}: no flag of ${kind}; leave it out, or name another --method`,
      {
        kind,
        flags: stray,
      },
    );
  }
  const all = { ...stageOptions(kind, flags), ...options, ...limits };
  if (kind === 'quantize') {
    const { plan } = await import('../../plan/plan.ts');
    return plan(model, all as PlanOptions);
  }
  const { planStage } = await import('../../run/stage-commands.ts');
  return planStage(kind, model, { ...requireMethod(kind, all), ...studentOptions(kind, flags) });
}

/** Flags of a plan that an export has no use for. */
const NOT_OF_EXPORT = { data: '--data', sparse: '--sparse', eval: '--eval', teacher: '--teacher' } as const;

/** Whether `--format` means an export: a format with a variant, or one that no command but export writes, and no method. */
async function namesExport(flags: Flags): Promise<boolean> {
  const { format, method, imatrix } = flags;
  if (imatrix !== undefined) return true;
  if (typeof format !== 'string' || method !== undefined) return false;
  if (STAGE_KINDS.some((kind) => Object.keys(stageOptions(kind, flags)).length > 0)) return false;
  const { WEIGHT_FORMATS } = await import('@pith/checkpoint');
  return format.includes(':') || !WEIGHT_FORMATS.includes(format);
}

async function planOfExport(model: string, flags: Flags, run: object): Promise<Plan> {
  const stray = [
    ...Object.entries(NOT_OF_EXPORT).flatMap(([name, flag]) => (flags[name] === undefined ? [] : [flag])),
    ...STAGE_KINDS.flatMap((kind) => Object.keys(stageOptions(kind, flags))),
  ];
  if (stray.length > 0 || flags['format'] === undefined) {
    throw new UsageError(
      'OPTION_CONTRADICTS',
      stray.length > 0
        ? `--format: ${String(flags['format'])} is an export, which has no use for ${[...new Set(stray)].join(', ')}; leave them out`
        : '--imatrix: belongs to an export to GGUF; add --format gguf:<variant>',
      { flags: [...new Set(stray)] },
    );
  }
  const { planExport } = await import('../../export/export-model.ts');
  return planExport(model, { ...exportOptions(flags), ...run } as unknown as ExportPlanOptions);
}

/** The plan's table and totals. */
export function describePlan(plan: Plan, session: Pick<Session, 'style'>): string {
  const table = formatTable(
    [
      { title: 'tensor' },
      { title: 'action' },
      { title: 'before', align: 'right' },
      { title: 'after', align: 'right' },
      { title: 'reason' },
    ],
    plan.tensors.map((tensor) => [
      tensor.name,
      tensor.action,
      formatBytes(tensor.bytesBefore),
      formatBytes(tensor.bytesAfter),
      tensor.reason.replace(/^kept: /, ''),
    ]),
  );
  const notices = plan.notices.map((notice) => `${session.style('yellow', 'note')} ${notice}\n`).join('');
  return `${table}\n${describeTotals(plan, session)}${notices}`;
}

/** Everything that does not fit; empty where all does. */
export function describeProblems(plan: Plan, session: Pick<Session, 'style'>): string {
  if (plan.problems.length === 0) return '';
  const lines = problemLines(plan.problems)
    .map((line) => `  ${line}\n`)
    .join('');
  return `\n${session.style('red', 'does not fit')}\n${lines}`;
}

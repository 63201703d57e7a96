import type { Command } from 'commander';
import type { Plan } from '../../plan/types.ts';
import { EXIT } from '../failure.ts';
import { formatBytes, formatFacts, formatSeconds, formatTable, significant } from '../../format.ts';
import { addCommonOptions, addExamples, addQuantizeOptions, type QuantizeFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';
import { quantizeOptions } from '../quantize-options.ts';
import type { Session } from '../session.ts';

/** `pith plan <model>`. */
export function registerPlan(program: Command, run: RunCommand): void {
  const command = program
    .command('plan')
    .summary('what quantize would do to each tensor, in bytes, before any work')
    .description(
      'Says what will happen to each tensor, what will not and why, the exact output size, the memory and the time it takes. ' +
        'Reads headers only. Exit status 2 when something does not fit.',
    )
    .argument('<model>', 'directory of a checkpoint');
  addCommonOptions(addQuantizeOptions(command)).action((model: string, flags: QuantizeFlags) =>
    run(flags, async (session) => {
      const { plan } = await import('../../plan/plan.ts');
      const made = await plan(model, { ...quantizeOptions(flags), signal: session.signal });
      return {
        json: made,
        text: describePlan(made, session) + describeProblems(made, session),
        exitCode: made.problems.length > 0 ? EXIT.input : EXIT.done,
      };
    }),
  );
  addExamples(command, [
    ['pith plan ./model --scheme w4g128', 'what 4 bits with groups of 128 would give'],
    ["pith plan ./model --scheme w4g64 --json | jq '.problems'", 'everything that does not fit, for a script'],
  ]);
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
  return `${table}\n${describeTotals(plan, session)}`;
}

/** The plan's totals alone. */
export function describeTotals(plan: Plan, session: Pick<Session, 'style'>): string {
  const share = plan.bytesBefore === 0 ? 100 : (100 * plan.bytesAfter) / plan.bytesBefore;
  return formatFacts([
    [
      'size',
      `${formatBytes(plan.bytesBefore)} -> ${session.style('bold', formatBytes(plan.bytesAfter))} (${significant(share, 3)}%)`,
    ],
    ['bits per weight', plan.bitsPerWeight.toFixed(3)],
    ['memory', `at most ${formatBytes(plan.peakMemoryBytes)}`],
    ['time', `about ${formatSeconds(plan.secondsEstimate)}`],
  ]);
}

/** Everything that does not fit; empty where all does. */
export function describeProblems(plan: Plan, session: Pick<Session, 'style'>): string {
  if (plan.problems.length === 0) return '';
  const lines = plan.problems.map((problem) => `  ${problem.message}\n`).join('');
  return `\n${session.style('red', 'does not fit')}\n${lines}`;
}

// What people see of a run that writes an artefact: the plan's totals before, the result after.
import type { Plan } from '../plan/types.ts';
import type { CompressResult } from '../run/run-result.ts';
import { formatBytes, formatFacts, formatSeconds, plural, significant } from '../format.ts';
import type { Session } from './session.ts';

/** Shows the totals of a plan before the work begins. */
export function announcePlan(session: Session): (plan: Plan, resumed: number) => void {
  return (plan, resumed) => {
    session.say(describeTotals(plan, session));
    for (const notice of plan.notices) session.say(`${session.style('yellow', 'note')} ${notice}\n`);
    const changed = plan.tensors.filter(({ action }) => action !== 'keep').length;
    const [only] = plan.stages;
    const verb = plan.stages.length === 1 ? only!.kind : 'change';
    session.say(
      `${plural(changed, 'tensor')} to ${verb}, ${plan.tensors.length - changed} kept; "pith plan" lists them\n`,
    );
    if (resumed > 0) session.say(`Continuing a run that was stopped: ${resumed} units are done.\n`);
  };
}

/** The plan's totals. */
export function describeTotals(plan: Plan, session: Pick<Session, 'style'>): string {
  const share = plan.bytesBefore === 0 ? 100 : (100 * plan.bytesAfter) / plan.bytesBefore;
  return formatFacts([
    [
      'size',
      `${formatBytes(plan.bytesBefore)} -> ${session.style('bold', formatBytes(plan.bytesAfter))} (${significant(share, 3)}%)`,
    ],
    ['bits per weight', plan.bitsPerWeight.toFixed(3)],
    ['memory', `at most ${formatBytes(plan.peakMemoryBytes)}`],
    // An export says nothing of it.
    ...(plan.secondsEstimate > 0 ? [['time', `about ${formatSeconds(plan.secondsEstimate)}`] as const] : []),
  ]);
}

/** What a run has done. */
export function describeResult(result: CompressResult, session: Pick<Session, 'style'>): string {
  const { worst, quality, interventions } = result;
  const facts: (readonly [string, string])[] = [
    ['output', result.output],
    ['size', `${formatBytes(result.bytesBefore)} -> ${session.style('bold', formatBytes(result.bytesAfter))}`],
    ['bits per weight', result.bitsPerWeight.toFixed(3)],
  ];
  if (quality !== null) {
    facts.push([
      'perplexity',
      `${significant(quality.before.perplexity, 5)} -> ${significant(quality.after.perplexity, 5)} ` +
        `(context ${quality.protocol.context}), KL ${significant(quality.after.kl, 3)} nats a token`,
    ]);
  }
  if (worst !== null) facts.push(['largest loss', `${worst.name}: ${worst.snrDb.toFixed(1)} dB signal to noise`]);
  if (interventions > 0) facts.push(['interventions', `${interventions}; the receipt has them`]);
  facts.push(
    ['time', `${formatSeconds(result.seconds)}, memory ${formatBytes(result.peakMemoryBytes)}`],
    ['receipt', result.receipt],
  );
  return `${session.style('green', 'done')}\n${formatFacts(facts)}`;
}

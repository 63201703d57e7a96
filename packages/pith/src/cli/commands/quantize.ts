import type { Command } from 'commander';
import type { QuantizeResult } from '../../run/quantize.ts';
import { formatBytes, formatFacts, formatSeconds, plural, significant } from '../../format.ts';
import { addCommonOptions, addExamples, addQuantizeOptions, type QuantizeFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';
import { quantizeOptions } from '../quantize-options.ts';
import type { Session } from '../session.ts';
import { wholeNumber } from '../values.ts';
import { describeTotals } from './plan.ts';

interface Flags extends QuantizeFlags {
  readonly output: string;
  readonly overwrite?: boolean;
  readonly eval?: string;
  readonly context?: number;
}

/** `pith quantize <model> -o <out>`. */
export function registerQuantize(program: Command, run: RunCommand): void {
  const command = program
    .command('quantize')
    .summary('write a smaller checkpoint')
    .description(
      'Quantizes the linear layers of a checkpoint. Embeddings, norms and the output projection are kept, and named. ' +
        'When it is stopped or killed, the same command again continues and ends with the same bytes.',
    )
    .argument('<model>', 'directory of a checkpoint')
    .requiredOption('-o, --output <dir>', 'directory to create')
    .option('--overwrite', 'replace an artefact of Pith at the output, or an unfinished run with other options')
    .option('--eval <file>', 'measure quality before and after on a text, into the receipt')
    .option('--context <n>', 'tokens of a window of --eval (default: 512)', wholeNumber('--context', 2));
  addCommonOptions(addQuantizeOptions(command)).action((model: string, flags: Flags) =>
    run(flags, async (session) => {
      const { quantize } = await import('../../run/quantize.ts');
      const result = await quantize(model, {
        ...quantizeOptions(flags),
        output: flags.output,
        ...(flags.overwrite === undefined ? {} : { overwrite: flags.overwrite }),
        ...(flags.eval === undefined
          ? {}
          : { evaluate: { data: flags.eval, ...(flags.context === undefined ? {} : { context: flags.context }) } }),
        signal: session.signal,
        progress: session.progress,
        onPlan: (plan, resumed) => {
          const kept = plan.tensors.filter((tensor) => tensor.action === 'keep').length;
          session.say(describeTotals(plan, session));
          session.say(
            `${plural(plan.tensors.length - kept, 'tensor')} to quantize, ${kept} kept; "pith plan" lists them\n`,
          );
          if (resumed > 0) session.say(`Continuing a run that was stopped: ${resumed} units are done.\n`);
        },
      });
      return { json: result, text: describeResult(result, session) };
    }),
  );
  addExamples(command, [
    ['pith quantize ./model -o ./small --scheme w4g128', '4 bits, one scale for 128 weights'],
    ['pith quantize ./model -o ./small --scheme w4g128 --range mse', 'search the range with the least squared error'],
    ['pith quantize ./model -o ./small --scheme w8 --eval text.txt', '8 bits, quality measured before and after'],
    ['pith quantize ./model -o ./small --ignore down_proj', 'keep some modules as they are'],
  ]);
}

function describeResult(result: QuantizeResult, session: Session): string {
  const facts: (readonly [string, string])[] = [
    ['output', result.output],
    ['size', `${formatBytes(result.bytesBefore)} -> ${session.style('bold', formatBytes(result.bytesAfter))}`],
    ['bits per weight', result.bitsPerWeight.toFixed(3)],
    ['time', `${formatSeconds(result.seconds)}, memory ${formatBytes(result.peakMemoryBytes)}`],
    ['receipt', result.receipt],
  ];
  const { worst, quality } = result;
  if (worst !== null) {
    facts.splice(3, 0, ['largest loss', `${worst.name}: ${worst.snrDb.toFixed(1)} dB signal to noise`]);
  }
  if (quality !== null) {
    facts.splice(3, 0, [
      'perplexity',
      `${significant(quality.before.perplexity, 5)} -> ${significant(quality.after.perplexity, 5)} ` +
        `(context ${quality.protocol.context}), KL ${significant(quality.after.kl, 3)} nats a token`,
    ]);
  }
  return `${session.style('green', 'done')}\n${formatFacts(facts)}`;
}

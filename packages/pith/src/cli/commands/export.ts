import type { Command } from 'commander';
import type { ExportModelOptions, ExportResult } from '../../export/export-model.ts';
import { formatBytes, formatFacts, formatSeconds, significant } from '../../format.ts';
import type { Plan } from '../../plan/types.ts';
import { addCommonOptions, addExamples } from '../options.ts';
import type { RunCommand } from '../program.ts';
import { describeTotals } from '../run-view.ts';
import type { Session } from '../session.ts';
import { exportOptions, type Flags } from '../stage-flags.ts';
import { byteSize, wholeNumber } from '../values.ts';

/** `pith export <model> --format <name> -o <output>`. */
export function registerExport(program: Command, run: RunCommand): void {
  const command = program
    .command('export')
    .summary('write a model in the format of a runtime')
    .description(
      'Writes a model, dense or compressed, in another format. The output appears when it is complete, with a receipt: beside a ' +
        'file (x.gguf.receipt.json), inside a directory.',
    )
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]')
    .requiredOption('--format <name>', 'format, and behind a colon its variant: gguf:f16, safetensors:bf16')
    .requiredOption('-o, --output <path>', 'file or directory to create, as the format is')
    .option('--overwrite', 'replace a file, or a directory that Pith has written')
    .option('--shard-size <size>', 'most bytes of tensors in a file', byteSize('--shard-size'))
    .option('--calibration <file>', 'text that statistics of inputs are measured on, or a .json file with token ids')
    .option('--samples <n>', 'windows of it (default: 128)', wholeNumber('--samples', 1))
    .option('--imatrix <file>', "statistics of inputs: llama.cpp's importance matrix")
    .option('--eval <file>', 'measure quality before and after on a text, into the receipt')
    .option(
      '--context <n>',
      'positions of a window of --calibration and --eval (default: 512)',
      wholeNumber('--context', 2),
    );
  addCommonOptions(command).action((model: string, flags: Flags) =>
    run(flags, async (session) => {
      const { exportModel } = await import('../../export/export-model.ts');
      const result = await exportModel(model, {
        ...exportOptions(flags),
        signal: session.signal,
        notice: session.notice,
        progress: session.progress,
        onPlan: announce(session),
      } as ExportModelOptions);
      return { json: result, text: describeExport(result, session) };
    }),
  );
  addExamples(command, [
    ['pith export ./model --format gguf:f16 -o model.gguf', 'for llama.cpp and what is built on it'],
    ['pith export ./model --format onnx:q4 -o ./model-onnx', 'for transformers.js and ONNX Runtime'],
    ['pith export ./small --format safetensors:bf16 -o ./dense', 'dense weights from a compressed model'],
  ]);
}

function announce(session: Session): (plan: Plan) => void {
  return (plan) => {
    session.say(describeTotals(plan, session));
    for (const notice of plan.notices) session.say(`${session.style('yellow', 'note')} ${notice}\n`);
  };
}

function describeExport(result: ExportResult, session: Pick<Session, 'style'>): string {
  const { quality } = result;
  const facts: (readonly [string, string])[] = [
    ['output', result.output],
    ['size', `${formatBytes(result.bytesBefore)} -> ${session.style('bold', formatBytes(result.bytesAfter))}`],
    ['bits per weight', result.bitsPerWeight.toFixed(3)],
  ];
  if (quality != null) {
    facts.push([
      'perplexity',
      `${significant(quality.before.perplexity, 5)} -> ${significant(quality.after.perplexity, 5)} ` +
        `(context ${quality.protocol.context}), KL ${significant(quality.after.kl, 3)} nats a token`,
    ]);
  }
  facts.push(
    ['time', `${formatSeconds(result.seconds)}, memory ${formatBytes(result.peakMemoryBytes)}`],
    ['receipt', result.receipt],
  );
  return `${session.style('green', 'done')}\n${formatFacts(facts)}`;
}

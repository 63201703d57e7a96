import type { Command } from 'commander';
import type { Evaluation } from '../../evaluate/evaluate.ts';
import { formatFacts, formatSeconds, significant } from '../../format.ts';
import { addCommonOptions, addExamples, type SharedFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';
import { oneOf, wholeNumber } from '../values.ts';

interface Flags extends SharedFlags {
  readonly data: string;
  readonly context?: number;
  readonly protocol?: 'windows' | 'llama.cpp';
  readonly reference?: string;
  readonly weightsOnly?: boolean;
}

/** `pith eval <model> --data <file>`. */
export function registerEval(program: Command, run: RunCommand): void {
  const command = program
    .command('eval')
    .summary('perplexity, and distance from a reference model')
    .description(
      'Measures perplexity on a text: tokenized once without BOS, cut into windows of BOS and context-1 tokens that do not overlap, ' +
        'the incomplete tail dropped. With --reference also KL divergence and top-1 agreement.',
    )
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]')
    .requiredOption('--data <file>', 'text in UTF-8')
    .option('--context <n>', 'tokens of a window, BOS included (default: 512)', wholeNumber('--context', 2))
    .option(
      '--protocol <name>',
      'windows, or llama.cpp: pieces of which the second half counts, as llama-perplexity has it',
      oneOf('--protocol', ['windows', 'llama.cpp']),
    )
    .option('--reference <model>', 'model to compare with, such as the one before compression')
    .option('--weights-only', 'do not round activations where the weights ask a runtime for it (W8A8, FP8)');
  addCommonOptions(command).action((model: string, flags: Flags) =>
    run(flags, async (session) => {
      const { evaluate } = await import('../../evaluate/evaluate.ts');
      const result = await evaluate(model, {
        data: flags.data,
        ...(flags.context === undefined ? {} : { context: flags.context }),
        ...(flags.protocol === undefined ? {} : { protocol: flags.protocol }),
        ...(flags.reference === undefined ? {} : { reference: flags.reference }),
        ...(flags.weightsOnly === undefined ? {} : { weightsOnly: flags.weightsOnly }),
        ...(flags.threads === undefined ? {} : { threads: flags.threads }),
        ...(flags.memory === undefined ? {} : { memoryBytes: flags.memory }),
        signal: session.signal,
        notice: session.notice,
        progress: session.progress,
      });
      return { json: result, text: describeEvaluation(result) };
    }),
  );
  addExamples(command, [
    ['pith eval ./small --data text.txt', 'perplexity'],
    ['pith eval ./small --data text.txt --context 2048 --reference ./model', 'and what is lost against the original'],
  ]);
}

function describeEvaluation(result: Evaluation): string {
  const facts: (readonly [string, string])[] = [
    ['perplexity', significant(result.perplexity, 6)],
    ['nll', `${result.nll.toFixed(6)} nats a token`],
  ];
  if (result.kl !== undefined) {
    facts.push(
      ['reference perplexity', significant(result.referencePerplexity!, 6)],
      [
        'KL divergence',
        `mean ${significant(result.kl, 4)} nats a token, 99th percentile ${significant(result.klP99!, 4)}`,
      ],
      ['top-1 agreement', `${(100 * result.top1Agreement!).toFixed(2)}%`],
    );
  }
  facts.push(
    [
      'protocol',
      `context ${result.protocol.context}, ${result.protocol.windows} windows, ${result.tokens} tokens predicted` +
        (result.protocol.activations === 'quantized' ? ', activations rounded as a runtime would' : ''),
    ],
    ['speed', `${significant(result.tokensPerSecond, 3)} tokens/s, ${formatSeconds(result.seconds)}`],
  );
  return formatFacts(facts);
}

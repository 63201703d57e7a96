import type { Command } from 'commander';
import { formatFacts } from '../../format.ts';
import { addCommonOptions, addExamples, type SharedFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';
import { idList } from '../values.ts';

interface Flags extends SharedFlags {
  readonly ids: readonly number[];
  readonly segments?: readonly number[];
  readonly output: string;
  readonly overwrite?: boolean;
}

/** `pith logits <model> --ids <ids> -o <file>`. */
export function registerLogits(program: Command, run: RunCommand): void {
  const command = program
    .command('logits')
    .summary('raw logits of token ids, to compare runtimes')
    .description(
      'Writes the logits of all positions as one safetensors file: tensor "logits", f32 [1, tokens, vocabulary].',
    )
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]')
    .requiredOption('--ids <ids>', 'token ids, separated by commas; BOS is not added', idList('--ids'))
    .option(
      '--segments <segments>',
      'segment (token type) of each token, separated by commas, of models that have such (BERT); 0 for all when left out',
      idList('--segments'),
    )
    .requiredOption('-o, --output <file>', 'file to write')
    .option('--overwrite', 'replace an existing file');
  addCommonOptions(command).action((model: string, flags: Flags) =>
    run(flags, async (session) => {
      const { logits } = await import('../../generate/logits.ts');
      const result = await logits(model, {
        ids: flags.ids,
        ...(flags.segments === undefined ? {} : { segments: flags.segments }),
        output: flags.output,
        ...(flags.overwrite === undefined ? {} : { overwrite: flags.overwrite }),
        ...(flags.threads === undefined ? {} : { threads: flags.threads }),
        signal: session.signal,
        notice: session.notice,
      });
      return {
        json: result,
        text: formatFacts([
          ['output', result.output],
          ['logits', `f32 [${result.shape.join(', ')}]`],
        ]),
      };
    }),
  );
  addExamples(command, [
    ['pith logits ./small --ids 1,403,407 -o logits.safetensors', 'logits of three tokens'],
    ['pith logits ./bert --ids 101,7,102,9,102 --segments 0,0,0,1,1 -o logits.safetensors', 'of two segments'],
  ]);
}

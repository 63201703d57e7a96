import type { Command } from 'commander';
import { addCommonOptions, addExamples, type SharedFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';
import { realNumber, wholeNumber } from '../values.ts';

interface Flags extends SharedFlags {
  readonly prompt: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topP?: number;
}

/** `pith generate <model> --prompt <text>`. */
export function registerGenerate(program: Command, run: RunCommand): void {
  const command = program
    .command('generate')
    .summary('continue a text: a look at what is left')
    .description('Continues a text. Greedy unless a temperature is given; equal seeds give equal texts.')
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]')
    .requiredOption('--prompt <text>', 'text to continue; may be empty')
    .option('--max-tokens <n>', 'tokens to add at most (default: 64)', wholeNumber('--max-tokens', 1))
    .option('--temperature <t>', '0 is greedy (default: 0)', realNumber('--temperature', 0, 100))
    .option(
      '--top-p <p>',
      'sample from the most likely tokens that hold this much (default: 1)',
      realNumber('--top-p', 0, 1),
    );
  addCommonOptions(command).action((model: string, flags: Flags) =>
    run(flags, async (session) => {
      const { generate } = await import('../../generate/generate.ts');
      // On a terminal the text appears as it is made.
      const streams = !session.json && !session.quiet && session.terminal.stdout.isTTY === true;
      if (streams) session.say(flags.prompt);
      const result = await generate(model, {
        prompt: flags.prompt,
        ...(flags.maxTokens === undefined ? {} : { maxTokens: flags.maxTokens }),
        ...(flags.temperature === undefined ? {} : { temperature: flags.temperature }),
        ...(flags.topP === undefined ? {} : { topP: flags.topP }),
        ...(flags.seed === undefined ? {} : { seed: flags.seed }),
        ...(flags.threads === undefined ? {} : { threads: flags.threads }),
        ...(flags.memory === undefined ? {} : { memoryBytes: flags.memory }),
        ...(streams ? { onText: (text: string) => session.say(text) } : { progress: session.progress }),
        signal: session.signal,
        notice: session.notice,
      });
      return { json: result, text: streams ? '\n' : `${flags.prompt}${result.text}\n` };
    }),
  );
  addExamples(command, [
    ['pith generate ./small --prompt "Once upon a time"', 'the most likely continuation'],
    ['pith generate ./small --prompt "Once" --temperature 0.8 --top-p 0.95 --seed 7', 'a sampled one'],
  ]);
}

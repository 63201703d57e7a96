import type { Command } from 'commander';
import type { QuantizeRunOptions } from '../../run/quantize.ts';
import { addCommonOptions, addExamples } from '../options.ts';
import type { RunCommand } from '../program.ts';
import { announcePlan, describeResult } from '../run-view.ts';
import {
  addArtefactFlags,
  addCalibrationFlags,
  addDataFlag,
  addOutputFlags,
  addStageFlags,
  runOptions,
  stageOptions,
  type Flags,
} from '../stage-flags.ts';

/** `pith quantize <model> -o <out>`. */
export function registerQuantize(program: Command, run: RunCommand): void {
  const command = program
    .command('quantize')
    .summary('store weights in fewer bits')
    .description(
      'Quantizes the linear layers of a checkpoint. Embeddings, norms and the output projection are kept, and named. ' +
        'When it is stopped or killed, the same command again continues and ends with the same bytes.',
    )
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]');
  addOutputFlags(command);
  addStageFlags(command, ['quantize']);
  addDataFlag(addCalibrationFlags(command));
  addCommonOptions(addArtefactFlags(command)).action((model: string, flags: Flags) =>
    run(flags, async (session) => {
      const { quantize } = await import('../../run/quantize.ts');
      const result = await quantize(model, {
        ...stageOptions('quantize', flags),
        ...runOptions(flags),
        signal: session.signal,
        notice: session.notice,
        progress: session.progress,
        onPlan: announcePlan(session),
      } as QuantizeRunOptions);
      return { json: result, text: describeResult(result, session) };
    }),
  );
  addExamples(command, [
    ['pith quantize ./model -o ./small --scheme w4g128', '4 bits, one scale for 128 weights'],
    [
      'pith quantize ./model -o ./small --method gptq --calibration text.txt',
      'columns one after the other, errors moved on',
    ],
    ['pith quantize ./model -o ./small --scheme w8 --eval text.txt', '8 bits, quality measured before and after'],
    ['pith quantize ./model -o ./small --ignore down_proj', 'keep some modules as they are'],
    [
      'pith quantize ./model -o ./small --scheme fp8 --kv-cache fp8 --calibration text.txt',
      'keys and values in fp8 as well',
    ],
  ]);
}

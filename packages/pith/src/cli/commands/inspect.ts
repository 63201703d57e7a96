import type { Command } from 'commander';
import type { Inspection } from '../../inspect/inspect.ts';
import { formatBytes, formatCount, formatFacts, formatTable } from '../../format.ts';
import { addCommonOptions, addExamples, type SharedFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';

/** `pith inspect <model>`. */
export function registerInspect(program: Command, run: RunCommand): void {
  const command = program
    .command('inspect')
    .summary('tensors, parameters, dtypes, sizes, architecture')
    .description('Shows what a checkpoint holds. Reads headers only.')
    .argument('<model>', 'directory of a checkpoint, or a hub id: org/name[@revision]');
  addCommonOptions(command).action((model: string, flags: SharedFlags) =>
    run(flags, async (session) => {
      const { inspect } = await import('../../inspect/inspect.ts');
      const inspection = await inspect(model, {
        signal: session.signal,
        progress: session.progress,
        notice: session.notice,
      });
      return { json: inspection, text: describeInspection(inspection) };
    }),
  );
  addExamples(command, [
    ['pith inspect ./model', 'all tensors and sizes'],
    ["pith inspect ./model --json | jq '.parameters'", 'one number, for a script'],
  ]);
}

/** An inspection as a table and facts. */
export function describeInspection(inspection: Inspection): string {
  const table = formatTable(
    [{ title: 'tensor' }, { title: 'dtype' }, { title: 'shape' }, { title: 'bytes', align: 'right' }],
    inspection.tensors.map((tensor) => [
      tensor.name,
      tensor.dtype,
      `[${tensor.shape.join(', ')}]`,
      formatBytes(tensor.bytes),
    ]),
  );
  const { model } = inspection;
  const facts: (readonly [string, string])[] = [
    ['architecture', inspection.architecture + (inspection.supported ? '' : ' (Pith has no program for it)')],
    ['parameters', `${formatCount(inspection.parameters)} (${inspection.parameters.toLocaleString('en')})`],
    [
      'size',
      `${formatBytes(inspection.bytes)} in ${inspection.files
        .filter((file) => file.role === 'weights')
        .map((file) => file.name)
        .join(', ')}`,
    ],
    [
      'dtypes',
      Object.entries(inspection.dtypes)
        .map(([name, bytes]) => `${name} ${formatBytes(bytes)}`)
        .join(', '),
    ],
  ];
  if (model !== null) {
    facts.push(
      ['layers', `${model.layers} blocks of ${model.hiddenSize}, feed-forward ${model.intermediateSize}`],
      ['attention', `${model.heads} query and ${model.keyValueHeads} key/value heads of ${model.headDim}`],
      [
        'vocabulary',
        `${model.vocabularySize}${model.tiedEmbeddings ? ', output projection tied to the embedding' : ''}`,
      ],
      ['positions', String(model.maxPositions)],
    );
  }
  if (inspection.quantization !== null) facts.push(['quantized', inspection.quantization]);
  return `${table}\n${formatFacts(facts)}`;
}

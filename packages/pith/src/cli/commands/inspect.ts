import type { Command } from 'commander';
import type { Inspection } from '../../inspect/inspect.ts';
import type { InspectedOnnx } from '../../inspect/inspect-onnx.ts';
import { kindWords } from '../../inspect/kind-words.ts';
import { formatBytes, formatCount, formatFacts, formatTable } from '../../format.ts';
import { addCommonOptions, addExamples, type SharedFlags } from '../options.ts';
import type { RunCommand } from '../program.ts';

/** `pith inspect <model>`. */
export function registerInspect(program: Command, run: RunCommand): void {
  const command = program
    .command('inspect')
    .summary('tensors, parameters, dtypes, sizes, architecture')
    .description('Shows what a checkpoint or an ONNX model holds. Reads headers only.')
    .argument(
      '<model>',
      'directory of a checkpoint or an export, .gguf or .onnx file, or a hub id: org/name[@revision]',
    );
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
    ['pith inspect ./model-onnx', 'inputs, outputs, operators and quantized nodes of an ONNX export'],
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
  if (inspection.quantization !== null && inspection.onnx === undefined)
    facts.push(['quantized', inspection.quantization]);
  for (const model of inspection.onnx ?? []) facts.push(...onnxFacts(model));
  return `${table}\n${formatFacts(facts)}`;
}

/** Operators, inputs, outputs that a line lists. */
const LISTED = 8;

function onnxFacts(model: InspectedOnnx): (readonly [string, string])[] {
  const opsets = Object.entries(model.opsets).map(([domain, version]) => `${domain} ${version}`);
  const ports = (list: InspectedOnnx['inputs']): string =>
    list
      .slice(0, LISTED)
      .map(({ name, dtype, shape }) => `${name} ${dtype} [${shape.join(', ')}]`)
      .join('; ') + (list.length > LISTED ? `; and ${list.length - LISTED} more` : '');
  const operators = Object.entries(model.operators);
  const shown = operators.slice(0, LISTED).map(([name, count]) => `${name} ${count}`);
  const producer = model.producer === '' ? '' : `, written by ${model.producer}`;
  return [
    ['model', `${model.file}, ${formatBytes(model.bytes)}`],
    ['format', `IR ${model.irVersion}, operator sets ${opsets.join(', ')}${producer}`],
    ['inputs', ports(model.inputs)],
    ['outputs', ports(model.outputs)],
    ['nodes', `${model.nodes}: ${shown.join(', ')}${operators.length > LISTED ? ', ...' : ''}`],
    ...(model.quantized.length === 0
      ? []
      : ([['quantized', model.quantized.map(kindWords).join('; ')]] as (readonly [string, string])[])),
  ];
}

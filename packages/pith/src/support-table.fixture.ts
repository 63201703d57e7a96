// The table of docs/support.md, made from the registries of the code: architectures, what techniques say of their tables, formats.
import { readFileSync } from 'node:fs';
import {
  compressedTensorsNote,
  describeArchitecture,
  ggufTensors,
  readModelConfig,
  readsGguf,
  supportedModelTypes,
  type Architecture,
} from '@pith/model';
import { structureTransform, type StructureOptions } from '@pith/prune';
import { isPithError } from '@pith/tensor-core';
import { EXPORT_FORMATS } from './export/formats.ts';
import { METHODS_BY_KIND } from './recipe/method-schemas.ts';

interface Pinned {
  readonly name: string;
  readonly config: { readonly model_type: string };
}

/** Checkpoints with reference logits of another implementation that tests compare with. */
const GOLDEN = ['bert', 'gemma2', 'gpt2', 'gpt_neox', 'llama', 'mistral', 'mixtral', 'opt', 'phi3', 'qwen2', 'qwen3'];
/** Small enough to describe; everything else by the defaults of the class. */
const SMALL = { vocab_size: 64, num_hidden_layers: 2, n_layer: 2 };

const pinned = (): readonly Pinned[] =>
  JSON.parse(
    readFileSync(new URL('../../model/src/architecture/pinned-logits.fixture.json', import.meta.url), 'utf8'),
  ) as Pinned[];

function describe(modelType: string) {
  const config = { ...SMALL, model_type: modelType };
  return { config, architecture: describeArchitecture(readModelConfig(config)) };
}

/** Null where structured pruning can, otherwise why not. */
function obstacle(modelType: string, options: StructureOptions): string | null {
  const { config, architecture } = describe(modelType);
  const { problems } = structureTransform(options).plan({ config, architecture, weights: new Map() });
  return problems.find(({ code }) => code === 'STRUCTURE_UNSUPPORTED')?.message ?? null;
}

const UNITS: Readonly<Record<'layers' | 'neurons' | 'heads', StructureOptions>> = {
  layers: { layers: 1 },
  neurons: { neurons: 0.5, score: 'magnitude' },
  heads: { kvGroups: 1, score: 'magnitude' },
};

const structure = (modelType: string, unit: keyof typeof UNITS) =>
  obstacle(modelType, UNITS[unit]) === null ? 'yes' : 'no';

/** Why units cannot be taken out, each reason with the model types that it holds for. */
function obstacles(): string[] {
  const reasons = new Map<string, string[]>();
  for (const unit of Object.keys(UNITS) as (keyof typeof UNITS)[]) {
    for (const modelType of supportedModelTypes) {
      const message = obstacle(modelType, UNITS[unit]);
      if (message === null) continue;
      const [why] = message.replace(`of ${modelType} `, '').split('; ');
      const reason = `\`${unit}\`: ${why!.replace(/^\S+\.(\w+) normalizes/, 'a norm ($1) normalizes')}`;
      reasons.set(reason, [...(reasons.get(reason) ?? []), `\`${modelType}\``]);
    }
  }
  return [...reasons].map(([reason, types]) => `- ${types.join(', ')}, ${reason}.`);
}

/** How many of the inputs of linears can take scales: those of a norm, or of a linear before. */
function foldable({ blocks }: Architecture): string {
  const groups = new Map(blocks[0]!.linears.map((linear) => [linear.inputGroup, linear]));
  const inputs = [...groups.values()];
  const can = inputs.filter(({ normBefore, fedBy }) => normBefore !== null || fedBy.some(({ scales }) => scales));
  return can.length === inputs.length ? 'all' : `${can.length} of ${inputs.length}`;
}

function gguf(architecture: Architecture): string {
  try {
    ggufTensors(architecture);
    return readsGguf(architecture.config.modelType) ? 'written and read' : 'written';
  } catch (error) {
    if (isPithError(error)) return 'no';
    throw error;
  }
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [row(heads), row(heads.map(() => '---')), ...rows.map(row)];
}

/** The text of docs/support.md. */
export function supportDocument(): string {
  const variants = pinned();
  const architectures = supportedModelTypes.map((modelType) => {
    const { architecture } = describe(modelType);
    const { config } = architecture;
    const own = variants.filter((entry) => entry.config.model_type === modelType);
    const checked = [...(GOLDEN.includes(modelType) ? ['checkpoint'] : []), ...own.map(({ name }) => `\`${name}\``)];
    const trains = config.kind === 'decoder' ? 'yes' : 'no';
    return {
      checked: [`\`${modelType}\``, config.kind, checked.join(', ')],
      techniques: [
        `\`${modelType}\``,
        'yes',
        foldable(architecture),
        'yes',
        'yes',
        structure(modelType, 'layers'),
        structure(modelType, 'neurons'),
        structure(modelType, 'heads'),
        trains,
      ],
      formats: [
        `\`${modelType}\``,
        'yes',
        compressedTensorsNote(modelType) === null ? 'yes' : 'not by transformers',
        gguf(architecture),
        checked.length > 0 ? 'run' : 'traced',
      ],
    };
  });
  const notes = supportedModelTypes.flatMap((modelType) => {
    const note = compressedTensorsNote(modelType);
    return note === null ? [] : [`- \`${modelType}\` from compressed-tensors: ${note}.`];
  });
  const methods = Object.entries(METHODS_BY_KIND).map(([kind, schemas]) => [
    kind,
    schemas.map(({ shape }) => `\`${shape.method.value}\``).join(', '),
  ]);
  const formats = EXPORT_FORMATS.map(({ name, summary, variants: kinds }) => [
    `\`${name}\``,
    summary,
    kinds.map((kind) => `\`${kind}\``).join(', '),
  ]);
  return [
    '# What is supported',
    '',
    'Made from the registries of the code; `npx vitest run src/support-table.test.ts -u` in `packages/pith` makes it anew, and a test',
    'fails when it is not current.',
    '',
    '## Architectures, and what they were checked against',
    '',
    'Logits are compared with those of transformers in f32: of a reference checkpoint with every hidden state (tolerance 3e-5), and of',
    'made-up weights for variants that published sizes differ in (2e-5 of the largest; `pinned-logits.test.ts` has the call).',
    '',
    ...table(
      ['model type', 'kind', 'checked'],
      architectures.map(({ checked }) => checked),
    ),
    '',
    'Rope scaling: `linear`, `dynamic`, `llama3`, `yarn`, `longrope` (`su`). Experts are read separate or packed in one tensor. An unknown',
    'architecture is refused with the names of its tensors; `pith quantize --generic` rounds its matrices all the same.',
    '',
    '## Architectures by techniques',
    '',
    '`scales`: inputs of a block into whose norm or linear before AWQ and SmoothQuant can fold scales; the others are rounded without.',
    '`layers`, `neurons`, `heads`: structured pruning. `training`: distillation, quantization-aware training, fine-tuning, gradients;',
    'perplexity and generation alike.',
    '',
    ...table(
      ['model type', 'quantize', 'scales', 'prune weights', 'factorize', 'layers', 'neurons', 'heads', 'training'],
      architectures.map(({ techniques }) => techniques),
    ),
    '',
    ...obstacles(),
    '',
    ...table(['kind of stage', 'methods'], methods),
    '',
    '## Architectures by formats',
    '',
    ...table(
      ['model type', 'dense, GPTQ, AWQ', 'compressed-tensors', 'GGUF', 'ONNX'],
      architectures.map(({ formats: cells }) => cells),
    ),
    '',
    'GGUF: a file that is read is a `<model>` of every command, and can be exported to all formats of this table.',
    '',
    'ONNX `run`: tests of `@pith/model` load the export in ONNX Runtime and hold its logits to the same reference numbers as above: whole,',
    'in a padded batch, and (decoders) token by token with a cache.',
    '',
    ...notes,
    '',
    ...table(['`pith export --format`', 'what it is', 'variants'], formats),
    '',
  ].join('\n');
}

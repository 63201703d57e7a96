// The card of an artefact (README.md of its repository), made from its receipt: what it was made of and how, sizes,
// quality with its protocol, every numerical rescue, and how to load it.
// Front matter: https://huggingface.co/docs/hub/model-cards#model-card-metadata
import type { HubLicence } from '@pith/checkpoint';
import { stringify } from 'yaml';
import { formatBytes, formatCount, significant } from '../format.ts';
import type { QualityReceipt, Receipt } from '../receipt/types.ts';
import { howToLoad } from './how-to-load.ts';

/** What a card is made of. */
export interface ModelCardInput {
  readonly receipt: Receipt;
  /** `org/name` of the artefact. */
  readonly id: string;
  /** The model that it was made of, where that is on a hub. */
  readonly baseModel?: string;
  readonly licence?: HubLicence;
  /** File that readers open, of a format whose artefact is a file. */
  readonly file?: string;
}

/** Interventions that the card lists; the receipt has all. */
const LISTED = 20;
/** Characters of a stage's configuration. */
const CONFIG_LIMIT = 4000;

/** The text of a model card. */
export function modelCard(input: ModelCardInput): string {
  const { receipt, id, baseModel, file } = input;
  const guide = howToLoad(receipt.output.format, id, file);
  const sections = [
    `# ${id.split('/')[1]}\n\n${summary(receipt, baseModel)}`,
    `## Loading\n\n${guide.text.trimEnd()}`,
    `## Size\n\n${sizes(receipt)}`,
    `## Quality\n\n${receipt.quality ? quality(receipt.quality) : 'Not measured when it was made.'}`,
    `## How it was made\n\n${recipe(receipt)}`,
    `## Numerical interventions\n\n${interventions(receipt)}`,
    `## Check\n\n\`pith verify <directory>\` compares every byte of a copy with the receipt that lies in this repository.`,
  ];
  return `---\n${frontMatter(input, guide)}---\n\n${sections.join('\n\n')}\n`;
}

function frontMatter({ receipt, baseModel, licence }: ModelCardInput, guide: ReturnType<typeof howToLoad>): string {
  const kinds = new Set((receipt.stages ?? []).map(({ kind }) => kind));
  const quantized = kinds.has('quantize') || (kinds.size === 0 && receipt.totals.bitsPerWeight < 15);
  const did = [...kinds].map((kind) => PAST[kind] ?? kind);
  return stringify({
    ...(licence && { license: licence.license }),
    ...(licence?.licenseName !== undefined && { license_name: licence.licenseName }),
    ...(licence?.licenseLink !== undefined && { license_link: licence.licenseLink }),
    ...(baseModel !== undefined && {
      base_model: [baseModel],
      base_model_relation: quantized ? 'quantized' : 'finetune',
    }),
    library_name: guide.library,
    tags: [
      ...new Set([...guide.tags, ...did, ...(quantized && !did.includes('quantized') ? ['quantized'] : []), 'pith']),
    ],
  });
}

const PAST: Readonly<Record<string, string>> = {
  quantize: 'quantized',
  prune: 'pruned',
  factorize: 'low-rank',
  distill: 'distilled',
};

function summary({ source, stages = [], output, versions }: Receipt, baseModel: string | undefined): string {
  const origin =
    baseModel === undefined
      ? `a model of architecture \`${source.architecture}\``
      : `[${baseModel}](https://huggingface.co/${baseModel})${source.hub?.id === baseModel ? ` at commit \`${source.hub.commit}\`` : ''}`;
  const done = stages.map(({ kind, method, config }) => {
    const scheme = (config as { scheme?: { name?: unknown } | string }).scheme;
    const named = typeof scheme === 'string' ? scheme : typeof scheme?.name === 'string' ? scheme.name : undefined;
    return `${PAST[kind] ?? kind} by ${method}${named === undefined ? '' : ` to \`${named}\``}`;
  });
  const how = done.length === 0 ? 'converted' : done.join(', then ');
  return (
    `Made of ${origin}: ${how}; format \`${output.format}\`. Written by Pith ${versions['pith'] ?? ''}`.trimEnd() + '.'
  );
}

function sizes({ totals }: Receipt): string {
  const { bytesBefore, bytesAfter, bitsPerWeight, parameters } = totals;
  return table(
    ['', 'before', 'after'],
    [
      [
        'files of tensors',
        formatBytes(bytesBefore),
        `${formatBytes(bytesAfter)} (${significant((100 * bytesAfter) / bytesBefore, 3)}%)`,
      ],
      ['bits per weight', significant((8 * bytesBefore) / Math.max(1, parameters), 4), significant(bitsPerWeight, 4)],
      ['parameters', formatCount(parameters), ''],
    ],
  );
}

function quality({ protocol, before, after, tokens, textSha256 }: QualityReceipt): string {
  const measured = table(
    ['', 'original', 'this model'],
    [
      ['perplexity', significant(before.perplexity, 6), significant(after.perplexity, 6)],
      [
        'KL divergence, nats a token',
        '',
        `mean ${significant(after.kl, 4)}, 99th percentile ${significant(after.klP99, 4)}`,
      ],
      ['same most likely token', '', `${(100 * after.top1Agreement).toFixed(2)}%`],
    ],
  );
  return (
    `${measured}\n\nProtocol: ${tokens} tokens predicted in ${protocol.windows} windows of ${protocol.context} positions, ` +
    `stride ${protocol.stride}, BOS ${protocol.bosTokenId} at the start of each; ${protocol.tokenization}; tail: ${protocol.tail}; ` +
    `${protocol.precision}. SHA-256 of the text: \`${textSha256}\`.`
  );
}

function recipe({ stages = [], options, calibration, notices = [] }: Receipt): string {
  const parts = stages.map(({ id, kind, method, config }) => {
    const text = stringify({ [kind]: { method, ...config } });
    const shown =
      text.length <= CONFIG_LIMIT ? text : `${text.slice(0, CONFIG_LIMIT)}\n# cut here; the receipt has all\n`;
    return `${id}:\n\n\`\`\`yaml\n${shown.replaceAll('```', "'''")}\`\`\``;
  });
  if (parts.length === 0) parts.push(`\`\`\`yaml\n${stringify(options).replaceAll('```', "'''")}\`\`\``);
  if (calibration) {
    const { windows, context, choose, seed, textTokens } = calibration;
    parts.push(
      `Calibrated on ${windows} windows of ${context} positions of a text of ${textTokens} tokens ` +
        `(${choose === 'first' ? 'the first ones' : `chosen at random by seed ${seed}`}).`,
    );
  }
  for (const notice of notices) parts.push(`Note: ${line(notice)}`);
  return parts.join('\n\n');
}

function interventions({ interventions: all }: Receipt): string {
  if (all.length === 0) return 'None.';
  const rows = all.slice(0, LISTED).map(({ code, where, message }) => [`\`${code}\``, line(where), line(message)]);
  const rest = all.length > LISTED ? `\n\nAnd ${all.length - LISTED} more; the receipt has all.` : '';
  return table(['what', 'where', 'in words'], rows) + rest;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
}

/** Text on one line of Markdown: names of tensors come from strangers. */
function line(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/[|<>`\\[\]]/g, (sign) => `\\${sign}`);
}

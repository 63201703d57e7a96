// The facts of a receipt, arranged for the page.
import type { Architecture } from '@pith/model';
import { formatBytes, formatSeconds } from '../format.ts';
import type { QualityProtocol, QualityReceipt, Receipt, StageReceipt } from '../receipt/types.ts';
import { placesOf } from './place-of.ts';
import type {
  ReportData,
  ReportLossCurve,
  ReportQuality,
  ReportSpectrum,
  ReportStage,
  ReportWeight,
} from './report-data.ts';

/** What a receipt does not say. */
export interface ReportContext {
  /** What the page is called: the name of the artefact's directory. */
  readonly title: string;
  /** The source's architecture, by which tensors are grouped; without it all stand under `other`. */
  readonly architecture?: Architecture;
}

/** What the page shows of a receipt. */
export function reportOfReceipt(receipt: Receipt, { title, architecture }: ReportContext): ReportData {
  const { source, totals, stages = [], samples = [], interventions, quality } = receipt;
  const places = architecture === undefined ? undefined : placesOf(architecture);
  return {
    title,
    architecture: source.architecture,
    parameters: totals.parameters,
    bytesBefore: totals.bytesBefore,
    bytesAfter: totals.bytesAfter,
    bitsPerWeight: totals.bitsPerWeight,
    stages:
      stages.length > 0 ? stages.map(stageOf) : [{ title: receipt.operation, options: optionsOf(receipt.options) }],
    weights: receipt.weights.map(({ name, action, bytesBefore, bytesAfter, error }): ReportWeight => {
      const place = places?.get(name) ?? { part: 'other', module: name, layer: null };
      return { name, ...place, action, bytesBefore, bytesAfter, snrDb: error?.snrDb ?? null };
    }),
    spectra: stages.flatMap(spectraOf),
    losses: stages.flatMap(lossesOf),
    samples,
    quality: quality === undefined ? null : qualityOf(quality),
    interventions,
    provenance: provenanceOf(receipt),
  };
}

function titleOf({ kind, method }: Pick<StageReceipt, 'kind' | 'method'>): string {
  return kind === method ? kind : `${kind} ${method}`;
}

function stageOf(stage: StageReceipt): ReportStage {
  const { method: _, ...options } = stage.config;
  return { title: titleOf(stage), options: optionsOf(options) };
}

/** Options as short text; empty ones are left out. */
function optionsOf(options: Readonly<Record<string, unknown>>): Record<string, string> {
  const entries = Object.entries(options).flatMap(([name, value]): [string, string][] => {
    if (value === null || value === undefined || (Array.isArray(value) && value.length === 0)) return [];
    const text = shortText(value);
    return [[name, text.length > 80 ? `${text.slice(0, 77)}...` : text]];
  });
  return Object.fromEntries(entries);
}

/** A scheme by its name, a range by its kind, anything else as it is. */
function shortText(value: unknown): string {
  if (typeof value === 'string') return value;
  const { name, kind } = Object(value) as { readonly name?: unknown; readonly kind?: unknown };
  return typeof name === 'string' ? name : typeof kind === 'string' ? kind : JSON.stringify(value);
}

function isPoints(value: unknown): value is (readonly [number, number])[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((point) => Array.isArray(point) && point.length === 2 && point.every((x) => typeof x === 'number'))
  );
}

/** Methods that decompose record some singular values as `spectrum`, and the `rank` that was kept. */
function spectraOf({ records }: StageReceipt): ReportSpectrum[] {
  return Object.entries(records).flatMap(([name, { spectrum, rank }]) =>
    isPoints(spectrum) ? [{ name, values: spectrum, rank: typeof rank === 'number' ? rank : null }] : [],
  );
}

/** Methods that train record some of their steps as `curve`. */
function lossesOf(stage: StageReceipt): ReportLossCurve[] {
  return Object.entries(stage.records).flatMap(([name, { curve }]) => {
    const points = Array.isArray(curve) ? curve.flatMap(lossOf) : [];
    if (points.length === 0) return [];
    return [{ stage: name === 'training' ? titleOf(stage) : `${titleOf(stage)}: ${name}`, points }];
  });
}

function lossOf(record: unknown): (readonly [step: number, loss: number])[] {
  const { step, loss } = Object(record) as { readonly step?: unknown; readonly loss?: unknown };
  return typeof step === 'number' && typeof loss === 'number' ? [[step, loss]] : [];
}

function qualityOf({ protocol, before, after, tokens, textSha256 }: QualityReceipt): ReportQuality {
  const labels: Readonly<Record<keyof QualityProtocol, string>> = {
    tokenization: 'tokenization',
    context: 'positions of a window',
    bosTokenId: 'token that opens a window',
    stride: 'tokens between windows',
    predictedPerWindow: 'predicted in a window',
    tail: 'tail of the text',
    precision: 'precision',
    windows: 'windows',
  };
  const facts = Object.entries(labels).flatMap(([key, label]): [string, string][] => {
    const value = protocol[key as keyof QualityProtocol];
    return value === undefined ? [] : [[label, String(value)]];
  });
  return {
    before: before.perplexity,
    after: after.perplexity,
    kl: after.kl,
    top1Agreement: after.top1Agreement,
    protocol: [...facts, ['predicted tokens', String(tokens)], ['SHA-256 of the text', textSha256]],
  };
}

function provenanceOf({ calibration, source, planSha256, versions, run, notices = [] }: Receipt): [string, string][] {
  const { host } = run;
  const choice = (of: NonNullable<typeof calibration>): string =>
    of.choose === 'first' ? 'the first of the text' : `chosen by seed ${of.seed}`;
  return [
    ...(calibration
      ? [
          ['calibration', `${calibration.windows} windows of ${calibration.context} tokens, ${choice(calibration)}`],
          ['SHA-256 of the calibration text', calibration.textSha256],
        ]
      : []),
    ...notices.map((notice) => ['notice', notice]),
    ['source', `SHA-256 ${source.sha256}`],
    ['plan', `SHA-256 ${planSha256}`],
    [
      'versions',
      Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
    ['time', formatSeconds(run.seconds)],
    ['peak memory', formatBytes(run.peakMemoryBytes)],
    [
      'machine',
      `${host.platform} ${host.architecture}, ${run.threads} of ${host.processors} processors, Node ${host.node}`,
    ],
    ['finished', run.finished],
  ] as [string, string][];
}

// The plan: what will happen to each tensor, what not and why, in exact bytes, and everything that does not fit, from
// headers alone. The run carries out exactly what is prepared here.
import {
  asConvertible,
  isConvertible,
  planOutput,
  QUANTIZATION_KEYS,
  setMembers,
  tiedEmbeddings,
  weightFormat,
  type FormatConfig,
  type Checkpoint,
  type FormatContext,
  type JsonValue,
  type OutputLayout,
  type OutputTensor,
  type StoredTensor,
  type TiedEmbeddings,
  type WeightFormat,
} from '@pith/checkpoint';
import { describeArchitecture, readModelConfig, type Architecture } from '@pith/model';
import {
  formatRange,
  genericTable,
  planRtn,
  rtnConfig,
  type GenericTable,
  type RtnConfig,
  type RtnPlan,
  type TensorPlan,
} from '@pith/quant';
import { isPithError, PithError } from '@pith/tensor-core';
import { canonicalJson } from '../canonical-json.ts';
import { sha256 } from '../run/hash-tree.ts';
import { LEAF_BYTES } from '../run/leaves.ts';
import { placeOfHeaders, type ModelPlace } from '../source/locate-model.ts';
import { openSource, type Source } from '../source/open-source.ts';
import { packageVersions } from '../versions.ts';
import { estimatePeakMemory, estimateSeconds } from './estimate.ts';
import { defaultScheme, quantizeConfig, requireKnown, type QuantizeConfig } from './quantize-config.ts';
import { runtimeNotices } from './runtime-notices.ts';
import { ownRounding, withVariantScheme } from './own-rounding.ts';
import { isSupported, streamsFiles } from './streams-files.ts';
import { tensorProblems } from './tensor-problems.ts';
import type { Plan, PlannedTensor, PlanOptions, PlanProblem, QuantizeOptions } from './types.ts';
import type { Unit, UnitOutput } from './units.ts';

/** A plan with all that is needed to carry it out. */
export interface PreparedPlan {
  readonly plan: Plan;
  readonly config: QuantizeConfig;
  readonly source: Source;
  readonly layout: OutputLayout;
  readonly units: readonly Unit[];
  /** Text of the output's config.json. */
  readonly configText: string;
  /** Texts of further files that the format has, by name. */
  readonly formatFiles: Readonly<Record<string, string>>;
  readonly format: WeightFormat;
  readonly context: FormatContext;
  readonly versions: Readonly<Record<string, string>>;
  /** Over everything that the output's bytes depend on but the source's values. */
  readonly sha256: string;
}

/**
 * Says what `quantize` would do with the same options; reads headers only.
 *
 * @param model directory of a checkpoint.
 * @throws PithError `OPTIONS_INVALID`, `SCHEME_UNKNOWN`, `RANGE_UNKNOWN`, `SOURCE_QUANTIZED`, and those of opening a
 * checkpoint. What does not fit is not thrown but listed in `problems`.
 */
export async function plan(model: string, options: PlanOptions = {}): Promise<Plan> {
  const { signal, progress, notice, ...asked } = options;
  const run = { ...(signal && { signal }), ...(progress && { progress }), ...(notice && { notice }) };
  const own = ownRounding(asked);
  if (own !== undefined) {
    const { planExport } = await import('../export/export-model.ts');
    return planExport(model, { ...exportLimits(asked), format: own, ...run });
  }
  const quantizeOptions = withVariantScheme(asked);
  const place = await placeOfHeaders(model, run);
  if (await streamsFiles(place, quantizeOptions)) return (await preparePlan(place, quantizeOptions)).plan;
  const { planStage } = await import('../run/stage-commands.ts');
  const { format, method = 'rtn', scheme = defaultScheme(method), generic: _generic, ...stage } = quantizeOptions;
  requireKnown({ method, ...(format !== undefined && { format }) });
  return planStage('quantize', place, { method, scheme, ...stage, ...(format !== undefined && { format }), ...run });
}

/** What an export takes of the options of a quantization. */
export function exportLimits({ calibration, shardBytes, seed, memoryBytes, threads }: QuantizeOptions) {
  return {
    ...(calibration && { calibration }),
    ...(shardBytes !== undefined && { shardBytes }),
    ...(seed !== undefined && { seed }),
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(threads !== undefined && { threads }),
  };
}

/** Makes a plan and all that is needed to carry it out. */
export async function preparePlan(model: ModelPlace, options: QuantizeOptions): Promise<PreparedPlan> {
  const config = quantizeConfig(options);
  const format = weightFormat(config.format);
  const scaleDType = config.scaleDType ?? format.scaleDType;
  const rtn = rtnConfig({
    scheme: config.scheme,
    range: config.range,
    schemeFor: config.schemeFor,
    include: config.include,
    ignore: config.ignore,
    ...(scaleDType === undefined ? {} : { scaleDType }),
  });
  const source = await openSource(model);
  const { checkpoint } = source;
  if (checkpoint.quantization !== undefined) {
    throw new PithError(
      'SOURCE_QUANTIZED',
      `plan: ${source.directory} must hold dense weights, its config.json says they are quantized (${checkpoint.quantization.method}); ` +
        'start from the model before quantization',
      { details: { model: source.directory, method: checkpoint.quantization.method } },
    );
  }
  // Without quantization they are those of safetensors files.
  const tensors = [...checkpoint.tensors.values()] as StoredTensor[];
  const convertible = tensors.filter((tensor) => isConvertible(tensor.dtype)).map(rtnTensor);
  const unknown = config.generic && !isSupported(checkpoint.config) ? genericTable(convertible) : undefined;
  const tied = unknown ? 'untied' : await relationOfHead(checkpoint);
  const architecture = unknown ? undefined : architectureOf(checkpoint, tied === 'conflict');
  const table = unknown?.table ?? architecture!;
  const planned = planRtn(table, convertible, rtn);
  const omitted = tied === 'tied-duplicate' ? `${table.head.path}.weight` : undefined;
  const problems: PlanProblem[] = planned.problems.map(({ code, name, message, remedy }) => ({
    code,
    name,
    message: `${message.replace(/^plan: /, '')}; ${remedy}`,
  }));
  const listed = new Set(problems.map(({ code, name }) => `${code} ${name}`));
  const strange = architecture ? tensorProblems(architecture, checkpoint.tensors) : [];
  // Of linear layers the plan of rounding has said so already.
  problems.push(...strange.filter(({ code, name }) => !listed.has(`${code} ${name}`)));
  const byName = new Map(planned.tensors.map((tensor) => [tensor.name, tensor]));
  const context: FormatContext = {
    ignore: planned.keptLinears,
    observer: `memoryless_${rtn.range.kind}`,
  };
  const shared = { format, context, omitted, problems };
  const work = tensors.map((tensor) => workFor(tensor, byName.get(tensor.name), shared));
  const layout = planOutput(
    work.flatMap(({ outputs }) => outputs),
    { shardBytes: config.shardBytes },
  );
  const said = formatConfig(planned, shared);
  const configText = setMembers(source.checkpoint.configText, {
    ...(tied === 'conflict' && said !== undefined ? { tie_word_embeddings: false } : {}),
    ...said?.members,
  });
  const formatFiles = said?.files ?? {};
  const versions = packageVersions();
  const units = work.flatMap(({ unit }) => (unit === undefined ? [] : [unit]));
  const modelType = String(checkpoint.config['model_type'] ?? 'unknown');
  const notices = [
    ...(checkpoint.notices ?? []),
    ...genericNotices(config, modelType, unknown),
    ...(unknown ? [] : runtimeNotices(config.format, modelType)),
  ];
  const made = summarize({ modelType, notices, config, rtn, source, layout, work, problems });
  const identity = {
    versions,
    options: made.options,
    units: units.map(({ kind, source: { name, dtype, shape }, outputs }) => ({ kind, name, dtype, shape, outputs })),
    heads: layout.files.map((file) => [file.name, sha256(file.head)]),
    config: configText,
    ...(Object.keys(formatFiles).length > 0 && { files: formatFiles }),
    leafBytes: LEAF_BYTES,
  };
  return {
    plan: made,
    config,
    source,
    layout,
    units,
    configText,
    formatFiles,
    format,
    context,
    versions,
    sha256: sha256(canonicalJson(identity)),
  };
}

/** What a plan says of an architecture that is unknown, or of a wish that was needless. */
function genericNotices({ generic }: QuantizeConfig, modelType: string, unknown: GenericTable | undefined): string[] {
  if (!generic) return [];
  if (unknown === undefined) return [`generic: ${modelType} is known, its own table is used`];
  const { table, left } = unknown;
  const shown = left.slice(0, 8).map(({ name, reason }) => `${name} (${reason})`);
  const more = left.length > 8 ? ` and ${left.length - 8} more` : '';
  return [
    `generic: the architecture ${modelType} is unknown; ${table.blocks[0]!.linears.length} matrices are taken for linear layers by their names`,
    ...(left.length === 0 ? [] : [`generic: other matrices stay: ${shown.join(', ')}${more}`]),
  ];
}

/** The architecture; a stored head that differs from the embedding counts, whatever the config says of tying. */
function architectureOf({ config }: Checkpoint, untie: boolean): Architecture {
  return describeArchitecture(readModelConfig(untie ? { ...config, tie_word_embeddings: false } : config));
}

function relationOfHead(checkpoint: Checkpoint): Promise<TiedEmbeddings> {
  const { embedding, head, config } = architectureOf(checkpoint, false);
  return tiedEmbeddings(checkpoint, embedding.name, `${head.path}.weight`, config.tiedEmbeddings);
}

function rtnTensor(tensor: StoredTensor) {
  const { name, shape, byteLength } = tensor;
  return { name, shape, byteLength, dtype: asConvertible(tensor.dtype, name) };
}

interface Work {
  readonly planned: PlannedTensor;
  readonly outputs: readonly OutputTensor[];
  readonly unit?: Unit;
}

/** What all tensors share. */
interface Shared {
  readonly format: WeightFormat;
  readonly context: FormatContext;
  /** A tensor that is left out. */
  readonly omitted: string | undefined;
  readonly problems: PlanProblem[];
}

/** What one source tensor becomes. */
function workFor(
  tensor: StoredTensor,
  decision: TensorPlan | undefined,
  { format, context, omitted, problems }: Shared,
): Work {
  const { name, dtype, shape, byteLength } = tensor;
  if (name === omitted) {
    const reason = 'left out: equal to the token embedding, to which the config ties it';
    return { planned: { name, action: 'omit', reason, bytesBefore: byteLength, bytesAfter: 0 }, outputs: [] };
  }
  const weight = decision?.quantize;
  if (weight !== undefined) {
    try {
      const pieces = format.kernelPieces?.(weight, context);
      const stored = pieces ?? format.tensors(weight, context);
      const bytesAfter = stored.reduce((sum, piece) => sum + piece.byteLength, 0);
      // Static scales of inputs do not occur: rounding without calibration has none.
      const outputs =
        pieces?.map(({ name, role }): UnitOutput => ({ name, role: role as UnitOutput['role'] })) ??
        stored.map(({ name }): UnitOutput => ({ name, role: 'encoded' }));
      return {
        planned: { name, action: 'quantize', reason: decision!.reason, bytesBefore: byteLength, bytesAfter },
        outputs: stored,
        unit: { kind: pieces === undefined ? 'encode' : 'quantize', source: tensor, weight, outputs },
      };
    } catch (error) {
      if (!isPithError(error) || error.kind !== 'input') throw error;
      problems.push({ code: error.code, name, message: error.message });
    }
  }
  const reason = decision?.reason ?? `kept: ${dtype} values are carried over as they are`;
  return {
    planned: { name, action: 'keep', reason, bytesBefore: byteLength, bytesAfter: byteLength },
    outputs: [{ name, dtype, shape }],
    unit: { kind: 'copy', source: tensor, outputs: [{ name, role: 'copy' }] },
  };
}

/** What config.json says of the quantized weights; undefined where there are none, or where the format cannot say it. */
function formatConfig(planned: RtnPlan, { format, context, problems }: Shared): FormatConfig | undefined {
  const weights = planned.tensors.flatMap(({ quantize }) => (quantize ? [quantize] : []));
  if (weights.length === 0) return undefined;
  try {
    const { members, files } = format.config(weights, context);
    const removed: Record<string, JsonValue | undefined> = {};
    for (const key of QUANTIZATION_KEYS) removed[key] = undefined;
    return { members: { ...removed, ...members }, files };
  } catch (error) {
    if (!isPithError(error) || error.kind !== 'input') throw error;
    problems.push({ code: error.code, name: 'format', message: error.message });
    return undefined;
  }
}

interface Parts {
  readonly modelType: string;
  readonly notices: readonly string[];
  readonly config: QuantizeConfig;
  readonly rtn: RtnConfig;
  readonly source: Source;
  readonly layout: OutputLayout;
  readonly work: readonly Work[];
  readonly problems: PlanProblem[];
}

function summarize({ modelType, notices, config, rtn, source, layout, work, problems }: Parts): Plan {
  const tensors = work.map(({ planned }) => planned);
  const sources = [...source.checkpoint.tensors.values()];
  const valuesOf = (names: ReadonlySet<string>): number =>
    sources.reduce((sum, tensor) => sum + (names.has(tensor.name) ? tensor.shape.reduce((a, b) => a * b, 1) : 0), 0);
  const kept = new Set(tensors.filter(({ action }) => action !== 'omit').map(({ name }) => name));
  const quantized = tensors.filter(({ action }) => action === 'quantize');
  const quantizedValues = valuesOf(new Set(quantized.map(({ name }) => name)));
  const parameters = valuesOf(kept);
  const whole = work.flatMap(({ unit }) =>
    unit?.kind === 'encode' ? [unit.source.shape.reduce((a, b) => a * b, 1)] : [],
  );
  const peakMemoryBytes = estimatePeakMemory({ threads: config.threads, tensors: sources, encoded: whole });
  if (config.memoryBytes !== undefined && peakMemoryBytes > config.memoryBytes) {
    problems.push({
      code: 'MEMORY_TOO_SMALL',
      name: 'memoryBytes',
      message: `the run needs up to ${peakMemoryBytes} bytes of memory, ${config.memoryBytes} are allowed; allow more, or use fewer threads`,
    });
  }
  const indexBytes = source.checkpoint.files
    .filter((file) => file.role === 'index')
    .reduce((sum, file) => sum + file.byteLength, 0);
  return {
    architecture: modelType,
    options: {
      method: config.method,
      scheme: rtn.scheme.name,
      ...(rtn.schemeFor.length > 0 && {
        schemeFor: Object.fromEntries(rtn.schemeFor.map(({ pattern, scheme }) => [pattern, scheme.name])),
      }),
      range: formatRange(rtn.range),
      scaleDType: rtn.scheme.scaleDType ?? null,
      include: config.include,
      ignore: config.ignore,
      ...(config.generic && { generic: true }),
      format: config.format,
      shardBytes: config.shardBytes,
      seed: config.seed,
    },
    stages: [{ id: 'stage-1', kind: 'quantize', method: 'rtn', from: 'source', teachers: [], config: { ...rtn } }],
    notices,
    tensors,
    bytesBefore: source.checkpoint.weightFileBytes + indexBytes,
    bytesAfter: layout.totalBytes,
    bitsPerWeight: parameters === 0 ? 0 : (8 * layout.dataBytes) / parameters,
    quantizedBitsPerWeight:
      quantizedValues === 0
        ? 0
        : (8 * quantized.reduce((sum, { bytesAfter }) => sum + bytesAfter, 0)) / quantizedValues,
    parameters,
    peakMemoryBytes,
    secondsEstimate: estimateSeconds({
      bytesRead: tensors.reduce((sum, { bytesBefore }) => sum + bytesBefore, 0),
      bytesWritten: layout.totalBytes,
      quantizedValues,
      range: rtn.range,
      threads: config.threads,
    }),
    problems,
  };
}

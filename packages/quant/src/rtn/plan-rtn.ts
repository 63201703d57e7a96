// The plan of rounding to nearest: what happens to each tensor, what it will weigh, and everything that does not fit,
// from the architecture's table and the checkpoint's headers alone.
import { moduleMatcher, strayModules } from '@pith/model';
import type { Architecture, BlockSpec, LinearSpec } from '@pith/model';
import { countedActivations } from '../pass/input-scale.ts';
import { groupRemedy, inputGroupProblem, rangeProblem } from '../pass/scheme-problems.ts';
import { sharingLinears } from '../pass/shared-scales.ts';
import { isQuantizable, resolveScheme } from '../scheme/resolve-scheme.ts';
import { needsCalibration, ruleFinder, schemeChooser, schemesOf } from '../scheme/scheme-rules.ts';
import type { Scheme } from '../scheme/scheme.ts';
import { quantizedPieces } from './pieces.ts';
import type { PlannedTensor, PlanProblem, RtnConfig, RtnPlan, TensorPlan, WeightPlan } from './rtn-types.ts';

/** The parts of an architecture's table that the plan reads. An `Architecture` is one. */
export interface ModuleTable
  extends
    Pick<Architecture, 'embedding' | 'head'>,
    Partial<Pick<Architecture, 'inputProjection' | 'outputProjection' | 'ignored' | 'storage'>> {
  /** The linear layers of each block. */
  readonly blocks: readonly Pick<BlockSpec, 'linears'>[];
}

/**
 * Plans the rounding of a model: every linear layer of the blocks, or those that the configuration selects.
 *
 * Nothing is read and nothing thrown for a model that does not fit: `problems` lists every reason at once, and
 * `applyRtn` must not be called while there is one.
 */
export function planRtn(table: ModuleTable, tensors: readonly PlannedTensor[], config: RtnConfig): RtnPlan {
  const problems: PlanProblem[] = [];
  const linears = table.blocks.flatMap((block) => block.linears);
  const selected = selectLinears(table, linears, config, problems);
  for (const scheme of schemesOf(config)) if (needsCalibration(scheme)) problems.push(calibrationNeeded(scheme));
  for (const scheme of schemesOf(config)) {
    const unsupported = rangeProblem(scheme, config.range);
    if (unsupported !== undefined) problems.push(unsupported);
  }
  const present = new Set(tensors.map(({ name }) => name));
  for (const linear of linears.filter(({ name }) => !present.has(name))) {
    problems.push({
      name: linear.name,
      code: 'TENSOR_MISSING',
      message: `plan: ${linear.path} needs the tensor ${linear.name}, the checkpoint has none of this name`,
      remedy: 'fetch the checkpoint again; a shard may be missing',
    });
  }
  const byName = new Map([...linears, ...(table.head.tied ? [] : [table.head])].map((linear) => [linear.name, linear]));
  const schemeOf = schemeChooser(config);
  const plans = tensors.map((tensor): TensorPlan => {
    const linear = byName.get(tensor.name);
    if (linear === undefined) return keep(tensor, otherReason(table, tensor), embeddingModule(table, tensor));
    const reason = selected.get(linear.path);
    if (reason?.quantize !== true) return keep(tensor, reason?.text ?? 'not selected', linear.path);
    return quantizeOrProblem(
      tensor,
      linear,
      { ...config, scheme: schemeOf(linear.path), reason: reason.text },
      problems,
    );
  });
  const shared = withSharedScales(plans, linears);
  return summarize(config, shared, keptLinears(table, linears, shared, tensors), problems);
}

/** Plans of weights with a global scale, with the names of those that share it. */
function withSharedScales(plans: readonly TensorPlan[], linears: readonly LinearSpec[]): TensorPlan[] {
  const global = new Set(
    plans.flatMap(({ name, quantize }) => (quantize?.scheme.scaleDType === 'f8_e4m3' ? [name] : [])),
  );
  const sets = new Map<string, readonly string[]>();
  for (const linear of sharingLinears(linears.filter(({ name }) => global.has(name)))) {
    const names = linear.map(({ name }) => name);
    for (const name of names) sets.set(name, names);
  }
  return plans.map((plan) => {
    if (plan.quantize === undefined || !global.has(plan.name)) return plan;
    return { ...plan, quantize: { ...plan.quantize, sharesGlobalScale: sets.get(plan.name) ?? [plan.name] } };
  });
}

interface Selection {
  readonly quantize: boolean;
  readonly text: string;
}

/** Which linear layers are quantized and why the others are not, by path. */
function selectLinears(
  table: ModuleTable,
  linears: readonly LinearSpec[],
  { include, ignore, schemeFor }: RtnConfig,
  problems: PlanProblem[],
): Map<string, Selection> {
  const candidates = [...linears, table.head];
  const paths = [...candidates.map(({ path }) => path), table.embedding.path];
  const including = include.map((pattern) => ({ pattern, matches: moduleMatcher(pattern) }));
  const ignoring = ignore.map((pattern) => ({ pattern, matches: moduleMatcher(pattern) }));
  const choosing = schemeFor.map(({ pattern }) => ({ pattern, matches: moduleMatcher(pattern) }));
  const ruleOf = ruleFinder({ schemeFor });
  for (const { pattern, matches } of [...including, ...ignoring, ...choosing]) {
    if (!paths.some(matches)) problems.push(matchesNothing(pattern, candidates));
  }
  const selection = new Map<string, Selection>();
  for (const linear of candidates) {
    const head = linear.path === table.head.path;
    const ignored = ignoring.find(({ matches }) => matches(linear.path));
    const included = including.find(({ matches }) => matches(linear.path));
    const rule = ignored === undefined ? ruleOf(linear.path) : undefined;
    const text = `scheme ${rule?.scheme.name} by the pattern "${rule?.pattern}"`;
    const chosen = rule && { quantize: true, text };
    const usual = select(linear, head, ignored?.pattern, included?.pattern, include.length > 0);
    selection.set(linear.path, chosen ?? usual);
  }
  // A wildcard may match more than what can be quantized; a pattern that means this one module may not.
  const exact = ({ pattern, matches }: (typeof including)[number], path: string) =>
    matches(path) && !pattern.startsWith('re:') && !pattern.includes('*') && path.endsWith(pattern);
  for (const entry of [...including, ...choosing]) {
    if (table.head.tied && exact(entry, table.head.path)) problems.push(tiedHead(table));
    if (exact(entry, table.embedding.path)) problems.push(embeddingRefused(table, entry.pattern));
  }
  return selection;
}

function select(
  linear: LinearSpec,
  head: boolean,
  ignored: string | undefined,
  included: string | undefined,
  hasIncludes: boolean,
): Selection {
  if (ignored !== undefined) return { quantize: false, text: `kept: ignored by the pattern "${ignored}"` };
  if (linear.role === 'router')
    return { quantize: false, text: 'kept: router, which decides which expert a token goes to' };
  if (included !== undefined) return { quantize: true, text: `included by the pattern "${included}"` };
  if (hasIncludes) return { quantize: false, text: 'kept: no include pattern matches it' };
  if (!head) return { quantize: true, text: `linear layer (${linear.role})` };
  return {
    quantize: false,
    text: `kept: output projection, which loses most; include "${linear.path}" to quantize it`,
  };
}

function otherReason(table: ModuleTable, tensor: PlannedTensor): string {
  if (tensor.name === table.embedding.name) {
    return table.head.tied
      ? 'kept: token embedding, which is the output projection too (tied)'
      : 'kept: token embedding, which runtimes look up in dense form';
  }
  return tensor.shape.length === 1 ? 'kept: vector (norm or bias)' : 'kept: not a linear layer';
}

function embeddingModule(table: ModuleTable, tensor: PlannedTensor): string | undefined {
  return tensor.name === table.embedding.name ? table.embedding.path : undefined;
}

function quantizeOrProblem(
  tensor: PlannedTensor,
  linear: LinearSpec,
  config: Pick<RtnConfig, 'scheme' | 'range'> & { readonly reason: string },
  problems: PlanProblem[],
): TensorPlan {
  const { name, dtype, shape } = tensor;
  const [rows = 0, columns = 0] = shape;
  const found: PlanProblem[] = [];
  if (shape.length !== 2 || rows !== linear.outFeatures || columns !== linear.inFeatures) {
    found.push({
      name,
      code: 'SHAPE_UNEXPECTED',
      message: `plan: ${name} must be [${linear.outFeatures}, ${linear.inFeatures}] by config.json, got [${shape.join(', ')}]`,
      remedy: 'config.json and the weights belong to different models: fetch both from one place',
    });
  }
  if (!isQuantizable(dtype)) {
    found.push({
      name,
      code: 'DTYPE_NOT_QUANTIZABLE',
      message: `plan: ${name} must be f32, f16 or bf16 to be quantized, got ${dtype}`,
      remedy: `ignore "${linear.path}", or start from the unquantized checkpoint`,
    });
  }
  const { granularity } = config.scheme.weights;
  if (granularity.kind === 'group' && columns % granularity.size !== 0) {
    found.push(groupDoesNotDivide(name, columns, granularity.size, config.scheme, linear.path));
  }
  const ofInputs = inputGroupProblem(config.scheme, name, columns, linear.path);
  if (ofInputs) found.push(ofInputs);
  problems.push(...found);
  if (found.length > 0 || !isQuantizable(dtype)) {
    return keep(
      tensor,
      `cannot be quantized: ${found.map(({ message }) => message.replace(/^plan: /, '')).join('; ')}`,
      linear.path,
    );
  }
  const scheme = resolveScheme(config.scheme, dtype);
  const { storage } = config.scheme;
  const pieces = quantizedPieces([rows, columns], scheme, storage);
  const plan: WeightPlan = {
    name,
    module: linear.path,
    shape: [rows, columns],
    dtype,
    scheme,
    ...(needsCalibration(config.scheme) ? {} : activationsOf(config.scheme)),
    storage,
    range: config.range,
    pieces,
  };
  return {
    name,
    action: 'quantize',
    reason: reasonOf(linear, config.reason),
    module: linear.path,
    bytesBefore: tensor.byteLength,
    bytesAfter: pieces.reduce((sum, { byteLength }) => sum + byteLength, 0),
    quantize: plan,
  };
}

function activationsOf(scheme: Scheme): Pick<WeightPlan, 'activations'> {
  const activations = countedActivations(scheme);
  return activations ? { activations } : {};
}

function reasonOf({ role }: LinearSpec, selected: string): string {
  const what = role === 'head' ? 'output projection' : `linear layer (${role})`;
  if (selected.startsWith('scheme ')) return `${what}, ${selected}`;
  return role === 'head' ? 'output projection, included by a pattern' : what;
}

function keep(tensor: PlannedTensor, reason: string, module: string | undefined): TensorPlan {
  const { name, byteLength } = tensor;
  const plan = { name, action: 'keep', reason, bytesBefore: byteLength, bytesAfter: byteLength } as const;
  return module === undefined ? plan : { ...plan, module };
}

/** Linear modules that stay dense: a runtime that was not told of one would look for its codes. */
function keptLinears(
  table: ModuleTable,
  linears: readonly LinearSpec[],
  plans: readonly TensorPlan[],
  tensors: readonly PlannedTensor[],
): string[] {
  const quantized = new Set(plans.filter(({ quantize }) => quantize).map(({ module }) => module));
  const { inputProjection = null, outputProjection = null, head } = table;
  const outer = [inputProjection, outputProjection, head].filter((linear) => linear !== null);
  const known = [...linears, ...outer].map(({ path }) => path).filter((path) => !quantized.has(path));
  const stray = strayModules(
    table,
    tensors.map((tensor) => [tensor.name, tensor]),
  );
  return [...new Set([...known, ...stray])];
}

function summarize(
  config: RtnConfig,
  tensors: readonly TensorPlan[],
  kept: readonly string[],
  problems: readonly PlanProblem[],
): RtnPlan {
  const sum = (plans: readonly TensorPlan[], of: (plan: TensorPlan) => number) =>
    plans.reduce((total, plan) => total + of(plan), 0);
  const quantized = tensors.filter(({ quantize }) => quantize !== undefined);
  const weights = sum(quantized, ({ quantize }) => quantize!.shape[0] * quantize!.shape[1]);
  return {
    config,
    tensors,
    bytesBefore: sum(tensors, ({ bytesBefore }) => bytesBefore),
    bytesAfter: sum(tensors, ({ bytesAfter }) => bytesAfter),
    bitsPerWeight: weights === 0 ? 0 : (8 * sum(quantized, ({ bytesAfter }) => bytesAfter)) / weights,
    keptLinears: kept,
    problems,
  };
}

function groupDoesNotDivide(name: string, columns: number, size: number, scheme: Scheme, path: string): PlanProblem {
  return {
    name,
    code: 'GROUP_DOES_NOT_DIVIDE',
    message: `plan: ${name} has ${columns} columns, which groups of ${size} do not divide`,
    remedy: groupRemedy(scheme, columns, path),
  };
}

function calibrationNeeded(scheme: Scheme): PlanProblem {
  return {
    name: scheme.name,
    code: 'CALIBRATION_NEEDED',
    message: `plan: ${scheme.name} has static activation scales, which only calibration can find`,
    remedy:
      scheme.activations?.granularity === 'group'
        ? 'give a calibration text to a calibrated method (rtn with one), or quantize the weights alone: nvfp4'
        : 'give a calibration text to a calibrated method (rtnPass, smoothquant), or let the runtime scale each token (dynamic)',
  };
}

function matchesNothing(pattern: string, linears: readonly LinearSpec[]): PlanProblem {
  const examples = [linears[0]?.path, linears.at(-1)?.path].filter((path) => path !== undefined);
  return {
    name: pattern,
    code: 'PATTERN_MATCHES_NOTHING',
    message: `plan: the module pattern "${pattern}" matches no linear layer`,
    remedy: `modules are named like ${examples.join(', ')}`,
  };
}

function tiedHead(table: ModuleTable): PlanProblem {
  return {
    name: table.head.path,
    code: 'HEAD_TIED',
    message: `plan: ${table.head.path} is the token embedding ${table.embedding.name} itself (tied) and cannot be quantized alone`,
    remedy: `leave "${table.head.path}" out of the include patterns`,
  };
}

function embeddingRefused(table: ModuleTable, pattern: string): PlanProblem {
  return {
    name: table.embedding.path,
    code: 'EMBEDDING_NOT_QUANTIZABLE',
    message: `plan: the pattern "${pattern}" selects the token embedding, which runtimes look up in dense form`,
    remedy: `leave "${pattern}" out of the include patterns`,
  };
}

// Flags of stages and runs as options of the library: each flag is said once, with the name that the library gives it.
import type { Command } from 'commander';
import type { StageKind } from '../recipe/stage-kinds.ts';
import { UsageError } from './failure.ts';
import { iterativeOptions } from './iterative-options.ts';
import { amounts, byteSize, collect, collectPairs, realNumber, wholeNumber } from './values.ts';

/** A flag and the option that it sets. */
interface Flag {
  readonly flag: string;
  readonly help: string;
  /** Option of the library; the flag in camel case when left out. */
  readonly option?: string;
  readonly parse?: (value: string, previous: never) => unknown;
}

const SELECTION: readonly Flag[] = [
  { flag: '--include <pattern>', help: 'work only on modules that match; may be given again', parse: collect },
  { flag: '--ignore <pattern>', help: 'leave modules that match alone; may be given again', parse: collect },
];
const DAMPING: Flag = {
  flag: '--damping <x>',
  help: 'added to the diagonal of the Gram matrix, as a share of its mean',
  parse: realNumber('--damping', 0, 1),
};

/** Flags of methods that train. */
const TRAINING: readonly Flag[] = [
  { flag: '--steps <n>', help: 'training: steps of the optimizer', parse: wholeNumber('--steps', 1) },
  { flag: '--lr <x>', help: 'training: highest learning rate', option: 'learningRate', parse: number('--lr') },
  { flag: '--schedule <name>', help: 'training: the rate after its warm-up: cosine, wsd, constant' },
  {
    flag: '--warmup-steps <n>',
    help: 'training: steps in which the rate rises',
    parse: wholeNumber('--warmup-steps', 0),
  },
  { flag: '--batch-size <n>', help: 'training: windows in a batch', parse: wholeNumber('--batch-size', 1) },
  {
    flag: '--micro-batches <n>',
    help: 'training: batches that make up one step',
    parse: wholeNumber('--micro-batches', 1),
  },
  { flag: '--clip-norm <x>', help: 'training: largest global norm of the gradients', parse: number('--clip-norm') },
  { flag: '--weight-decay <x>', help: "training: AdamW's decay", parse: number('--weight-decay') },
  {
    flag: '--save-every <n>',
    help: 'training: steps after which the state is saved',
    parse: wholeNumber('--save-every', 1),
  },
];
const TRAINABLE: Flag = {
  flag: '--trainable <what>',
  help: 'training: all, norms, factors, lora:rank=8, or patterns of modules',
};
const TEMPERATURE: Flag = {
  flag: '--temperature <x>',
  help: 'qat: temperature of the distributions',
  parse: number('--temperature'),
};

/** Flags of the methods of each kind of stage. */
const FLAGS: Readonly<Record<StageKind, readonly Flag[]>> = {
  quantize: [
    {
      flag: '--scheme <name>',
      help: 'bits, group size and kind of the codes: w4g128, w4g128-asym, w8, w8-tensor, fp8, fp8-block, nvfp4, mxfp4, mxfp8, w8a8 (default: w4g128)',
    },
    {
      flag: '--scheme-for <pattern=name>',
      help: 'another scheme for modules that match: lm_head=w8, down_proj=w8g128; may be given again, the last that matches counts',
      parse: collectPairs('--scheme-for', 'lm_head=w8'),
    },
    {
      flag: '--kv-cache <name>',
      help: 'also calibrate scales for the keys and values that a runtime keeps: fp8, int8, fp8-head, int8-head',
      option: 'kvCache',
    },
    { flag: '--range <name>', help: 'range of the codes: minmax, absmax, percentile:99.9, rms:K, mse, lp:P' },
    {
      flag: '--scale-dtype <name>',
      help: 'dtype of stored scales: f16, bf16, f32 (default: that of the weights)',
      option: 'scaleDType',
    },
    {
      flag: '--norm <x>',
      help: 'hqq: exponent of the norm of the errors, to 1 (default: 0.7)',
      parse: number('--norm'),
    },
    { flag: '--act-order <name>', help: 'gptq: order of the columns: weight, group, none' },
    DAMPING,
    { flag: '--importance <name>', help: 'gptq: what errors of a range search count: none, hessian' },
    { flag: '--grid-points <n>', help: 'awq: points of the grid of exponents', parse: wholeNumber('--grid-points', 1) },
    {
      flag: '--alpha <x>',
      help: 'smoothquant: how much goes from activations to weights; asvd: power of the mean magnitude of the inputs',
      parse: number('--alpha'),
    },
    { flag: '--folds <name>', help: 'smoothquant: which inputs are smoothed: norms, all' },
    { flag: '--train <what>', help: 'qat: all, linears, or step sizes alone (steps)' },
    {
      flag: '--step-rate <x>',
      help: 'qat: learning rate of step sizes, relative to that of the weights',
      parse: number('--step-rate'),
    },
    { flag: '--soft <x>', help: 'qat: weight of the distributions of the dense model', parse: number('--soft') },
    { flag: '--hard <x>', help: 'qat: weight of the tokens of the text', parse: number('--hard') },
    TEMPERATURE,
    ...TRAINING,
    ...SELECTION,
    { flag: '--generic', help: 'rtn: also on an unknown architecture, on matrices that look like linear layers' },
  ],
  prune: [
    { flag: '--sparsity <x>', help: 'share of the weights that go, 0 to 1', parse: number('--sparsity') },
    { flag: '--pattern <n:m>', help: 'so many of so many neighbours in a row stay: 2:4' },
    { flag: '--comparison <name>', help: 'which weights are compared: those of a row, or of the layer' },
    DAMPING,
    {
      flag: '--block-columns <n>',
      help: 'sparsegpt: columns whose weights are compared',
      parse: wholeNumber('--block-columns', 1),
    },
    {
      flag: '--structure <what>',
      help: 'whole parts: layers=2, neurons=0.25, kv-groups=1, experts=2, joined by commas; counts or shares',
      option: '',
      parse: amounts('--structure'),
    },
    { flag: '--score <name>', help: 'structure: how neurons, groups and experts are ranked: wanda, magnitude, taylor' },
    { flag: '--contiguous', help: 'structure: take the layers from one run of neighbours' },
    {
      flag: '--multiple-of <n>',
      help: 'structure: keep a multiple of so many neurons',
      parse: wholeNumber('--multiple-of', 1),
    },
    {
      flag: '--initial-sparsity <x>',
      help: 'gradual: share cut before the first step',
      parse: number('--initial-sparsity'),
    },
    {
      flag: '--ramp-steps <n>',
      help: 'gradual: steps until the share is reached',
      parse: wholeNumber('--ramp-steps', 1),
    },
    {
      flag: '--by <method>',
      help: 'iterative: how a round prunes: magnitude, wanda, taylor, sparsegpt, structure (default: magnitude)',
    },
    { flag: '--rounds <n>', help: 'iterative: rounds on the way (default: 5)', parse: wholeNumber('--rounds', 1) },
    { flag: '--spacing <name>', help: 'iterative: how rounds divide the way: cubic, linear' },
    {
      flag: '--degradation <x>',
      help: 'iterative: ends before a round whose perplexity on --eval is above so many times the original',
      parse: number('--degradation'),
    },
    { flag: '--prune-every <n>', help: 'gradual: steps between two prunings', parse: wholeNumber('--prune-every', 1) },
    TRAINABLE,
    ...TRAINING,
    ...SELECTION,
  ],
  factorize: [
    { flag: '--rank <r>', help: 'the same rank for each linear layer', parse: wholeNumber('--rank', 0) },
    { flag: '--ratio <x>', help: 'share of the parameters that goes, of each linear layer', parse: number('--ratio') },
    { flag: '--energy <x>', help: 'share of the squared singular values that stays', parse: number('--energy') },
    {
      flag: '--budget <x>',
      help: 'share of the parameters that goes, of all linear layers together',
      parse: number('--budget'),
    },
    { flag: '--weigh <name>', help: 'with --budget: what the error of a layer counts: output, loss' },
    {
      flag: '--alpha <x>',
      help: 'smoothquant: how much goes from activations to weights; asvd: power of the mean magnitude of the inputs',
      parse: number('--alpha'),
    },
    { flag: '--stack <name>', help: 'tucker, cp: what is stacked: layers, heads' },
    { flag: '--iterations <n>', help: 'tucker, cp: most rounds', parse: wholeNumber('--iterations', 0) },
    { flag: '--starts <n>', help: 'cp: starts, of which the best counts', parse: wholeNumber('--starts', 1) },
    {
      flag: '--tolerance <x>',
      help: 'tucker, cp: ends when a round lowers the error by less',
      parse: number('--tolerance'),
    },
    { flag: '--dtype <name>', help: 'dtype of the factors: f32, f16, bf16 (default: that of the weights)' },
    { flag: '--solver <name>', help: 'exact or randomized (default: exact)' },
    ...SELECTION,
  ],
  distill: [
    {
      flag: '--student <what>',
      help: 'layers=0,2,4 of the teacher, a config.json for random weights, or a checkpoint (default: the teacher itself)',
    },
    {
      flag: '--loss <terms>',
      help: 'kl:T=2, reverse-kl, js, hard, hidden, attention, relations, with weights: kl:T=2,hard:0.1',
    },
    TRAINABLE,
    {
      flag: '--cache-top <n>',
      help: 'train from the most likely tokens of the teacher, kept on the disk',
      parse: wholeNumber('--cache-top', 1),
    },
    {
      flag: '--generations <n>',
      help: 'self-distillation: the student of one teaches the next',
      parse: wholeNumber('--generations', 1),
    },
    { flag: '--mutual', help: 'the teacher is a second student that is trained too' },
    { flag: '--combine <name>', help: 'how several teachers become one: weights, confidence' },
    ...TRAINING,
  ],
};

/** What each kind of method is called on the command line. */
const METHOD_HELP: Readonly<Record<StageKind, string>> = {
  quantize: 'rtn (to nearest), hqq (no text), gptq, awq, smoothquant, qat, kv-cache (default: rtn)',
  prune: 'magnitude, wanda, taylor, sparsegpt, iterative, gradual, structure (--structure alone says it)',
  factorize: 'svd, asvd, whitened-svd, tucker, cp',
  distill: 'offline',
};

/** Methods by kind: how `plan` knows what a method belongs to. */
export const METHOD_KINDS: Readonly<Record<string, StageKind>> = {
  rtn: 'quantize',
  hqq: 'quantize',
  gptq: 'quantize',
  awq: 'quantize',
  smoothquant: 'quantize',
  qat: 'quantize',
  'kv-cache': 'quantize',
  magnitude: 'prune',
  wanda: 'prune',
  taylor: 'prune',
  sparsegpt: 'prune',
  iterative: 'prune',
  gradual: 'prune',
  structure: 'prune',
  svd: 'factorize',
  asvd: 'factorize',
  'whitened-svd': 'factorize',
  tucker: 'factorize',
  cp: 'factorize',
  offline: 'distill',
};

/** Any number: what fits is for the method to say. */
function number(flag: string): (text: string) => number {
  return realNumber(flag, -Number.MAX_VALUE, Number.MAX_VALUE);
}

/** Adds the flags of some kinds of stages, each once. */
export function addStageFlags(command: Command, kinds: readonly StageKind[]): Command {
  const help = kinds.map((kind) => METHOD_HELP[kind]).join('; ');
  command.option('--method <name>', kinds.length === 1 ? help : `what to do: ${help}`);
  const seen = new Set<string>();
  for (const { flag, help: text, parse } of kinds.flatMap((kind) => FLAGS[kind])) {
    if (seen.has(flag)) continue;
    seen.add(flag);
    if (parse === undefined) command.option(flag, text);
    else command.option(flag, text, parse as (value: string, previous: unknown) => unknown);
  }
  return command;
}

/** Parsed flags of any command. */
export type Flags = Readonly<Record<string, unknown>>;

/** The options of a kind of stage among parsed flags; a flag that was not given is left out. */
export function stageOptions(kind: StageKind, flags: Flags): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  if (flags['method'] !== undefined) options['method'] = flags['method'];
  for (const { flag, option } of FLAGS[kind]) {
    const value = flags[attributeOf(flag)];
    if (value === undefined) continue;
    // Several options in one flag.
    if (option === '') Object.assign(options, value);
    else options[option ?? attributeOf(flag)] = value;
  }
  if (kind === 'prune' && options['method'] === 'iterative') return iterativeOptions(options);
  return options;
}

/** The kind of stage that parsed flags mean: by the method, or by what only one kind takes. */
export async function kindOf(flags: Flags): Promise<StageKind> {
  const { method } = flags;
  if (method !== undefined) {
    const kind = METHOD_KINDS[String(method)];
    if (kind !== undefined) return kind;
    const known = Object.keys(METHOD_KINDS);
    const { nearestWord } = await import('@pith/tensor-core');
    const near = nearestWord(String(method), known);
    throw new UsageError(
      'METHOD_UNKNOWN',
      `--method: must be one of ${known.join(', ')}, got "${String(method)}"${near === undefined ? '' : `; did you mean ${near}?`}`,
      { known },
    );
  }
  const given = (Object.keys(FLAGS) as StageKind[]).filter((kind) =>
    FLAGS[kind].some(({ flag }) => flags[attributeOf(flag)] !== undefined && kindsOf(flag).length === 1),
  );
  return given[0] ?? 'quantize';
}

/** The kinds that take a flag. */
function kindsOf(flag: string): StageKind[] {
  return (Object.keys(FLAGS) as StageKind[]).filter((kind) => FLAGS[kind].some((one) => one.flag === flag));
}

/** Flags that were given and belong to none of these kinds. */
export function strayFlags(kind: StageKind, flags: Flags): string[] {
  const own = new Set(FLAGS[kind].map(({ flag }) => attributeOf(flag)));
  const others = Object.values(FLAGS).flat();
  const stray = others.filter(({ flag }) => !own.has(attributeOf(flag)) && flags[attributeOf(flag)] !== undefined);
  return [...new Set(stray.map(({ flag }) => flag.split(' ')[0]!))];
}

/** `--scale-dtype <name>` is parsed as `scaleDtype`. */
function attributeOf(flag: string): string {
  return flag
    .split(' ')[0]!
    .replace(/^--/, '')
    .replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Flags of what stages look at. */
export function addCalibrationFlags(command: Command): Command {
  return command
    .option('--calibration <file>', 'text that calibrated methods look at, or a .json file with a list of token ids')
    .option('--samples <n>', 'windows of it (default: 128)', wholeNumber('--samples', 1))
    .option('--choose <name>', 'which windows: first, or random by the seed (default: first)')
    .option(
      '--sequential <name>',
      'what a block sees: outputs of the compressed blocks before it, or of the original ones (default: compressed)',
    )
    .option(
      '--true-sequential',
      'rewrite the layers of a block one input after the other, each seeing those before it',
    );
}

/** The calibration of parsed flags. @throws UsageError where flags of a text are given without one. */
export function calibrationOptions(flags: Flags): Record<string, unknown> | undefined {
  const { calibration: text, samples, context, choose, sequential, trueSequential } = flags;
  const given = { samples, choose, inputs: sequential, ...(trueSequential === true && { order: 'groups' }) };
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  if (text !== undefined)
    return Object.fromEntries([['text', text], ...(context === undefined ? [] : [['context', context]]), ...entries]);
  if (entries.length === 0) return undefined;
  const names = { samples: '--samples', choose: '--choose', inputs: '--sequential', order: '--true-sequential' };
  const flagName = names[entries[0]![0] as keyof typeof names];
  throw new UsageError(
    'CALIBRATION_MISSING',
    `${flagName}: says how a calibration text is used, none was given; add --calibration FILE`,
  );
}

/** The flag of the text that a stage trains on. */
export function addDataFlag(command: Command): Command {
  return command.option('--data <file>', 'text that is trained on, all of it (default: the calibration text)');
}

/** Flags of commands that write an artefact. */
export function addOutputFlags(command: Command): Command {
  return command
    .requiredOption('-o, --output <dir>', 'directory to create')
    .option('--overwrite', 'replace an artefact of Pith at the output, or an unfinished run with other options');
}

/** Flags of what is measured, and of how the artefact is stored. */
export function addArtefactFlags(command: Command): Command {
  return command
    .option('--eval <file>', 'measure quality before and after on a text, into the receipt')
    .option(
      '--context <n>',
      'positions of a window of --calibration, --data and --eval (default: 512)',
      wholeNumber('--context', 2),
    )
    .option(
      '--eval-context <n>',
      'positions of a window of --eval, where they differ',
      wholeNumber('--eval-context', 2),
    )
    .option(
      '--format <name>',
      'how quantized weights are stored: compressed-tensors (the default), gptq, awq, mlx; a variant stands for the scheme: mlx:4; ' +
        'without a method it rounds as the format does, as bitsandbytes:nf4 and gguf:q4_k_m do',
    )
    .option('--sparse', 'store pruned weights as compressed-tensors stores sparse ones, where that is smaller')
    .option('--shard-size <size>', 'most bytes of tensors in a file (default: 5GB)', byteSize('--shard-size'));
}

/** The options of an export among parsed flags. */
export function exportOptions(flags: Flags): Record<string, unknown> {
  const { data: _data, sparse: _sparse, ...options } = runOptions(flags);
  const { format, imatrix } = flags;
  return { ...options, format, ...(imatrix !== undefined && { importance: imatrix }) };
}

/** The options of the run among parsed flags. */
export function runOptions(flags: Flags): Record<string, unknown> {
  const { context, evalContext } = flags;
  const textOf = (text: unknown, window: unknown) =>
    text === undefined ? undefined : { text, ...(window === undefined ? {} : { context: window }) };
  const options = {
    output: flags['output'],
    overwrite: flags['overwrite'],
    calibration: calibrationOptions(flags),
    data: textOf(flags['data'], context),
    evaluate: textOf(flags['eval'], evalContext ?? context),
    format: flags['format'],
    sparse: flags['sparse'],
    shardBytes: flags['shardSize'],
    seed: flags['seed'],
    memoryBytes: flags['memory'],
    threads: flags['threads'],
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

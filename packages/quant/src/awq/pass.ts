// AWQ (Lin et al. 2023) as a pass over the blocks: per set of linears that share an input, search scales and fold them into
// what makes the input; then, weight by weight, search clipping and round to nearest.
import { throwIfStopped, type DenseWeight, type FactoredWeight, type WeightTensor } from '@pith/tensor-core';
import type {
  BlockPass,
  InputStatistics,
  Intervention,
  LinearRole,
  LinearSpec,
  PassContext,
  Stage,
  StageResult,
} from '@pith/model';
import { activationNeeds, activationQuantization } from '../pass/input-scale.ts';
import { schemeOfLinears, selectionOf } from '../pass/pass-options.ts';
import { planRounding } from '../pass/plan-rounding.ts';
import { planSmoothing } from '../smoothing/plan-smoothing.ts';
import { errorRecord, requireRoundable, roundWeight, scaleDTypeOf } from '../pass/round-weight.ts';
import { linearSelector } from '../pass/select-linears.ts';
import { schemesOf } from '../scheme/scheme-rules.ts';
import type { Scheme } from '../scheme/scheme.ts';
import { foldObstacle, foldScales } from '../smoothing/fold.ts';
import { denseOf } from '../smoothing/scale-weight.ts';
import { shareColumns, smoothingSets, spreadScales, type SmoothingSet } from '../smoothing/smoothing-sets.ts';
import { awqConfig, type AwqConfig, type AwqOptions } from './awq-config.ts';
import { scaleCandidates, WeightMeans } from './candidates.ts';
import { searchClipping } from './clip-search.ts';
import { ErrorPrograms, type GroupCoding } from './error-programs.ts';
import { rowImportance, type LinearEnergies } from './row-importance.ts';
import { searchScales, type SearchedWeight } from './scale-search.ts';

/** Linears that queries or keys come from. */
const QUERIES_AND_KEYS: ReadonlySet<LinearRole> = new Set<LinearRole>([
  'query',
  'key',
  'query-key-value',
  'key-value',
  'query-latent',
  'key-value-latent',
]);

/**
 * Activation-aware quantization of the linears of all blocks.
 *
 * The factors of a factored linear are rounded too: the right one, which reads the input, as a linear is; the left one to
 * nearest.
 *
 * @throws PithError `CONFIG_INVALID` with every offending option.
 */
export function awqPass(given: AwqOptions): BlockPass {
  const config = awqConfig(given);
  const { scheme } = config;
  const selected = linearSelector(selectionOf(config));
  const schemeOf = schemeOfLinears(config);
  return {
    name: 'awq',
    config: { ...config },
    changesInputs: true,
    plan: (model) => {
      const rounding = planRounding(model, config, `AWQ, ${scheme.name}`);
      const problems = [...rounding.problems];
      for (const { weights, name } of schemesOf(config)) {
        if (weights.kind === 'int' && weights.granularity.kind !== 'tensor') continue;
        problems.push({
          code: 'SCHEME_UNSUPPORTED',
          name,
          message: `plan: AWQ searches integers with a scale per channel or group, got ${name}; use for example w4g128-asym`,
        });
      }
      const folding = config.scaling ? planSmoothing(model, rounding.linears) : { changes: [], notices: [] };
      return {
        changes: [...folding.changes, ...rounding.changes],
        problems,
        notices: [...rounding.notices, ...folding.notices],
      };
    },
    // What a router reads stands for what all experts read: their scales are divided out of the same norm.
    needs: (linear) =>
      selected(linear) || (config.scaling && linear.role === 'router')
        ? ['gram', 'meanabs', ...activationNeeds(schemeOf(linear))]
        : [],
    apply: (stage, context) => new AwqStage(config, selected, stage, context).run(),
  };
}

/** One stage at work. */
class AwqStage {
  readonly #config: AwqConfig;
  readonly #selected: (linear: LinearSpec) => boolean;
  readonly #schemeOf: (linear: LinearSpec) => Scheme;
  readonly #stage: Stage;
  readonly #context: PassContext;
  /** The block's tensors as they are now. */
  readonly #weights: Map<string, WeightTensor>;
  readonly #records: Record<string, Record<string, unknown>> = {};
  readonly #interventions: Intervention[] = [];
  readonly #energies = new Map<string, LinearEnergies>();
  readonly #programs = new Map<string, ErrorPrograms>();

  constructor(config: AwqConfig, selected: (linear: LinearSpec) => boolean, stage: Stage, context: PassContext) {
    this.#config = config;
    this.#selected = selected;
    this.#schemeOf = schemeOfLinears(config);
    this.#stage = stage;
    this.#context = context;
    this.#weights = new Map(stage.weights);
  }

  async run(): Promise<StageResult> {
    const { linears, weights: before } = this.#stage;
    const inStage = new Set(linears.map(({ path }) => path));
    try {
      await this.#measureEnergies();
      const columnScales = new Map<string, Float64Array>();
      for (const set of smoothingSets(this.#stage.block)) {
        if (!set.linears.some(({ path }) => inStage.has(path))) continue;
        throwIfStopped(this.#context.signal, 'AWQ');
        const scales = await this.#scale(set);
        for (const { path } of set.linears) columnScales.set(path, scales);
      }
      for (const linear of linears.filter(this.#selected)) {
        throwIfStopped(this.#context.signal, 'AWQ');
        await this.#round(linear, columnScales.get(linear.path)!);
      }
    } finally {
      for (const programs of this.#programs.values()) await programs.dispose();
    }
    const weights = new Map([...this.#weights].filter(([name, weight]) => before.get(name) !== weight));
    return { weights, records: this.#records, interventions: this.#interventions };
  }

  /** Energies of the linears as the stage has them. */
  async #measureEnergies(): Promise<void> {
    if (!this.#config.scaling) return;
    for (const linear of this.#stage.block.linears) {
      const { path, name, inputGroup, inFeatures } = linear;
      const statistics = this.#stage.statistics.get(inputGroup);
      const weight = this.#weights.get(name);
      if (statistics?.gram === undefined || weight === undefined) continue;
      const values = await weight.toF32();
      const { gram, tokens } = statistics;
      const rows = await this.#programsFor(linear).outputSquares(values, Float32Array.from(gram));
      const columns = new Float64Array(inFeatures);
      for (let i = 0; i < values.length; i++) columns[i % inFeatures]! += values[i]! * values[i]!;
      for (let column = 0; column < inFeatures; column++) columns[column]! *= gram[column * (inFeatures + 1)]!;
      this.#energies.set(path, { rows: Float64Array.from(rows), columns, tokens });
    }
  }

  /** Finds and folds the scales of a set; gives those of its columns. */
  async #scale(set: SmoothingSet): Promise<Float64Array> {
    const ones = new Float64Array(set.inFeatures).fill(1);
    const rounded = set.linears.filter(this.#selected);
    const statistics = this.#stage.statistics.get(set.groups[0]!);
    if (!this.#config.scaling || rounded.length === 0 || statistics === undefined) return ones;
    const obstacle = foldObstacle(this.#weights, set);
    if (obstacle !== undefined) {
      // The plan has said so for what headers tell; a linear that this run has rounded already is news.
      if (set.fold.kind !== 'none') this.#notFolded(set, obstacle);
      return ones;
    }
    const { gridPoints, duoScaling, finalists } = this.#config;
    const weights: SearchedWeight[] = [];
    const means = new WeightMeans(set.inFeatures);
    for (const linear of rounded) {
      const weight = this.#weights.get(linear.name)!;
      const reading = readingFactor(weight);
      const values = await reading.toF32();
      // Rows of a right factor are no features of the model.
      const importance =
        weight.kind === 'factored'
          ? new Float64Array(weight.rank).fill(1)
          : rowImportance(this.#stage.block, linear, (path) => this.#energies.get(path));
      weights.push({ name: reading.name, values, importance, programs: this.#programsFor(linear) });
      means.add(values, this.#coding(linear).groupSize);
    }
    const share = (columns: ArrayLike<number>) => {
      const counts = shareColumns(set, new Float64Array(set.inFeatures).fill(1), (a, b) => a + b);
      return shareColumns(set, columns, (a, b) => a + b).map((sum, i) => sum / counts[i]!);
    };
    const { signal } = this.#context;
    const found = await searchScales({
      candidates: scaleCandidates(share(statistics.meanabs!), share(means.result()), { gridPoints, duoScaling }),
      weights,
      gram: Float32Array.from(statistics.gram!),
      spread: (scales) => spreadScales(set, scales),
      finalists,
      // Each linear's own set comes before any that scales its rows: its values are still those that the stage runs.
      outputError: this.#stage.outputError,
      check: () => throwIfStopped(signal, 'AWQ'),
    });
    const { best, ...errors } = found;
    const { kind, ratio, scales } = best;
    for (const { name } of rounded) this.#records[name] = { scaling: kind, ratio, search: errors };
    if (kind === 'identity') return ones;
    const names = new Set(this.#stage.block.linears.filter(this.#selected).map(({ name }) => name));
    return foldScales({ weights: this.#weights, set, scales, rounded: names });
  }

  #notFolded(set: SmoothingSet, obstacle: string): void {
    this.#interventions.push({
      code: 'SCALES_NOT_FOLDED',
      where: set.linears[0]!.path,
      message: `input scales of ${set.linears.map(({ path }) => path).join(', ')} were not searched: ${obstacle}`,
      details: { linears: set.linears.map(({ path }) => path), obstacle },
    });
  }

  /** Clips and rounds one linear. */
  async #round(linear: LinearSpec, scales: Float64Array): Promise<void> {
    const { clipping } = this.#config;
    const scheme = this.#schemeOf(linear);
    const { name, inputGroup, role, inFeatures } = linear;
    const original = requireRoundable(name, this.#stage.weights.get(name));
    const weight = requireRoundable(name, this.#weights.get(name));
    const statistics = this.#stage.statistics.get(inputGroup)!;
    const gram = scaledGram(statistics, scales);
    const programs = this.#programsFor(linear);
    const coding = this.#coding(linear);
    const reading = readingFactor(weight);
    const values = await reading.toF32();
    let clipped = reading;
    let facts: Record<string, unknown> = {};
    // What queries and keys lose is multiplied with one another before anything smooths it.
    if (clipping !== null && !QUERIES_AND_KEYS.has(role)) {
      const { signal } = this.#context;
      const blocks = diagonalBlocks(gram, inFeatures, coding.groupSize);
      const search = {
        weights: values,
        columns: inFeatures,
        blocks,
        grid: clipping,
        programs,
        ...(signal && { signal }),
      };
      const { weights, ...chosen } = await searchClipping({ ...search, groupSize: coding.groupSize });
      clipped = denseOf(reading.name, reading.shape, weights);
      facts = { ...chosen };
    }
    const activations = activationQuantization(scheme, scaleDTypeOf(original, scheme), statistics, scales);
    const stored = { ...scheme, scaleDType: scaleDTypeOf(original, scheme) };
    const options = { scheme: stored, range: { kind: 'minmax' } as const, activations };
    const rounded = await roundWeight(
      weight.kind === 'dense' ? clipped : { ...weight, right: clipped },
      options,
      this.#context,
    );
    this.#weights.set(name, rounded.weight);
    const after = await (rounded.weight.kind === 'factored' ? rounded.weight.right : rounded.weight).toF32();
    const outputError = sum(await programs.outputSquares(difference(after, values), gram));
    const outputSquares = sum(await programs.outputSquares(values, gram));
    this.#records[name] = {
      ...this.#records[name],
      ...facts,
      ...errorRecord(rounded.error),
      outputError,
      relativeOutputError: outputSquares > 0 ? outputError / outputSquares : 0,
      ...(activations && { activations }),
    };
  }

  #coding(linear: LinearSpec): GroupCoding {
    const { weights } = this.#schemeOf(linear);
    if (weights.kind !== 'int') throw new TypeError('AWQ rounds to integers');
    const { bits, symmetric, granularity } = weights;
    return { bits, symmetric, groupSize: granularity.kind === 'group' ? granularity.size : linear.inFeatures };
  }

  #programsFor(linear: LinearSpec): ErrorPrograms {
    const coding = this.#coding(linear);
    const key = JSON.stringify([coding, linear.inFeatures]);
    let programs = this.#programs.get(key);
    if (programs === undefined) {
      programs = new ErrorPrograms(this.#context.device, coding, linear.inFeatures);
      this.#programs.set(key, programs);
    }
    return programs;
  }
}

/** The matrix that reads the input. */
function readingFactor(weight: WeightTensor): DenseWeight {
  const reading = weight.kind === 'factored' ? (weight as FactoredWeight).right : weight;
  return requireRoundable(reading.name, reading) as DenseWeight;
}

/** The Gram matrix of inputs that are divided by scales: f32. */
function scaledGram({ gram, inFeatures }: InputStatistics, scales: Float64Array): Float32Array {
  return Float32Array.from(gram!, (value, i) => {
    const row = Math.floor(i / inFeatures);
    return value / scales[row]! / scales[i - row * inFeatures]!;
  });
}

/** The blocks of a matrix [columns, columns] along its diagonal: [groups, size, size]. */
function diagonalBlocks(gram: Float32Array, columns: number, size: number): Float32Array {
  if (size === columns) return gram;
  const blocks = new Float32Array(columns * size);
  for (let row = 0; row < columns; row++) {
    const first = row - (row % size);
    blocks.set(gram.subarray(row * columns + first, row * columns + first + size), row * size);
  }
  return blocks;
}

function difference(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value - b[i]!);
}

function sum(values: Float32Array): number {
  return values.reduce((a, b) => a + b, 0);
}

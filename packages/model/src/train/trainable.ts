// Which weights of a model are trained, and in what form: all of them, some of them, the factors of factored ones, or
// small additions beside frozen ones (LoRA: Hu et al. 2021).
import {
  PithError,
  denseWeight,
  factoredWeight,
  factorNames,
  fromF32,
  memoryBytes,
  randomStream,
} from '@pith/tensor-core';
import type { DenseWeight, HostTensor, WeightTensor } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture, LinearSpec } from '../architecture/architecture.ts';
import type { NamedTensors } from '../architecture/causal-logits.ts';
import { expectedTensors, normTensors } from '../architecture/expected-tensors.ts';
import { linear } from '../architecture/ops/linear.ts';
import type { LinearHook } from '../architecture/scope.ts';
import { requireCausal } from '../evaluate/require-head.ts';
import type { LanguageModel } from '../language-model.ts';
import { restoreRows } from '../run/restore.ts';
import { moduleMatcher } from '../selection/match-module.ts';

/** Every weight. */
export interface TrainAll {
  /** Tells the union apart. */
  readonly kind: 'all';
}

/** The weights of the norms. */
export interface TrainNorms {
  /** Tells the union apart. */
  readonly kind: 'norms';
}

/** The factors of factored weights. */
export interface TrainFactors {
  /** Tells the union apart. */
  readonly kind: 'factors';
}

/** The weights and biases of modules by path. */
export interface TrainModules {
  /** Tells the union apart. */
  readonly kind: 'modules';
  /** Patterns, see `moduleMatcher`. */
  readonly include: readonly string[];
}

/**
 * Beside each chosen linear W two small matrices: `y = x Wᵀ + (alpha / rank) (x Aᵀ) Bᵀ`, A [rank, in] random, B [out, rank]
 * zero at first. At the end `W + (alpha / rank) B A` takes the place of W.
 */
export interface TrainLora {
  /** Tells the union apart. */
  readonly kind: 'lora';
  /** Rows of A, columns of B. */
  readonly rank: number;
  /** Scale of the addition, times the rank. */
  readonly alpha: number;
  /** Patterns of linears, see `moduleMatcher`; every linear of the blocks when left out. */
  readonly include?: readonly string[];
}

/** What is trained. */
export type Trainable = TrainAll | TrainNorms | TrainFactors | TrainModules | TrainLora;

/** Options of {@link trainableModel}. */
export interface TrainableOptions {
  /** What is trained; `all` when left out. */
  readonly trainable?: Trainable;
  /** Keeps zeros of pruned matrices at zero by masks; true when left out. */
  readonly keepZeros?: boolean;
  /** Seed of the additions. */
  readonly seed: number;
}

/** A model taken apart for training. */
export interface TrainableModel {
  /** Table and program. */
  readonly architecture: Architecture;
  /** What is trained: weights by checkpoint name, factors by `factorNames`, additions as `module.lora_A.weight`. */
  readonly parameters: Readonly<Record<string, HostTensor<'f32'>>>;
  /** All other weights. */
  readonly frozen: Readonly<Record<string, HostTensor<'f32'>>>;
  /** Masks of pruned matrices among the parameters. */
  readonly masks: Readonly<Record<string, HostTensor<'f32'>>>;
  /** Stands in for the linear layers of the forward pass; undefined where nothing needs it. `tensors` are all of the above. */
  hook(tensors: NamedTensors): LinearHook | undefined;
  /** The stored weights after training, in the representations and dtypes of before; untouched ones are those of before. */
  merge(parameters: Readonly<Record<string, HostTensor<'f32'>>>): Promise<ReadonlyMap<string, WeightTensor>>;
}

/** Share of zeros from which a matrix counts as pruned. */
const PRUNED_SHARE = 1e-3;

/**
 * The names of the stored weights that a choice trains, and what it cannot train: weights in a form that has no gradient.
 *
 * @param kinds Representation of each weight by checkpoint name.
 */
export function selectTrained(
  architecture: Architecture,
  kinds: ReadonlyMap<string, WeightTensor['kind']>,
  choice: Trainable,
): {
  /** Names of stored weights. */
  readonly names: readonly string[];
  /** What cannot be trained, in words. */
  readonly problems: readonly string[];
} {
  const tensors = expectedTensors(architecture).map(({ name }) => name);
  const names = tensors.filter(selector(architecture, kinds, choice));
  const problems: string[] = [];
  if (names.length === 0)
    problems.push(`trainable: must select one weight at least, ${describeChoice(choice)} selects none`);
  for (const name of names) {
    if (kinds.get(name) === 'quantized') {
      problems.push(`${name}: codes have no gradient; train before quantizing, or leave it out of what is trained`);
    }
    if (choice.kind === 'lora' && kinds.get(name) !== 'dense') {
      problems.push(`${name}: an addition is merged into a dense weight, this one is ${kinds.get(name)}`);
    }
  }
  return { names, problems };
}

function selector(
  architecture: Architecture,
  kinds: ReadonlyMap<string, WeightTensor['kind']>,
  choice: Trainable,
): (name: string) => boolean {
  const linears = architecture.blocks.flatMap((block) => block.linears);
  switch (choice.kind) {
    case 'all':
      return () => true;
    case 'norms': {
      const { blocks, embeddingNorm, finalNorm } = architecture;
      const norms = [embeddingNorm, ...blocks.flatMap((block) => block.norms), finalNorm];
      const tensors = norms.flatMap((norm) => (norm === null ? [] : normTensors(norm)));
      const names = new Set(tensors.map(({ name }) => name));
      return (name) => names.has(name);
    }
    case 'factors':
      return (name) => kinds.get(name) === 'factored';
    case 'modules': {
      const matchers = choice.include.map(moduleMatcher);
      return (name) => matchers.some((matches) => matches(name.replace(/\.(?:weight|bias)$/, '')));
    }
    case 'lora': {
      const matchers = (choice.include ?? ['**']).map(moduleMatcher);
      // A tied head is the embedding: an addition to it cannot be merged into one of the two alone.
      const { head } = architecture;
      const candidates = choice.include && !head.tied ? [...linears, head] : linears;
      const names = new Set(
        candidates.filter(({ path }) => matchers.some((matches) => matches(path))).map(({ name }) => name),
      );
      return (name) => names.has(name);
    }
  }
}

const describeChoice = (choice: Trainable): string =>
  'include' in choice && choice.include ? `${choice.kind} ${choice.include.join(', ')}` : choice.kind;

/**
 * Restores all weights of a model as f32 and sorts them into what is trained and what is not.
 *
 * @throws PithError `TRAINABLE_INVALID` with every offender.
 */
export async function trainableModel(model: LanguageModel, options: TrainableOptions): Promise<TrainableModel> {
  const { trainable = { kind: 'all' }, keepZeros = true, seed } = options;
  requireCausal(model, 'train');
  const { architecture, weights } = model;
  const kinds = new Map([...weights].map(([name, { kind }]) => [name, kind]));
  const { names, problems } = selectTrained(architecture, kinds, trainable);
  if (problems.length > 0) {
    throw new PithError('TRAINABLE_INVALID', `train: ${problems.join('; ')}`, { details: { problems } });
  }
  const chosen = new Set(names);
  const parameters: Record<string, HostTensor<'f32'>> = {};
  const frozen: Record<string, HostTensor<'f32'>> = {};
  for (const { name } of expectedTensors(architecture)) {
    const target = chosen.has(name) && trainable.kind !== 'lora' ? parameters : frozen;
    const weight = weights.get(name)!;
    if (weight.kind === 'factored') {
      const { left, right } = factorNames(name);
      target[right] = await restoreRows(weight.right);
      target[left] = await restoreRows(weight.left);
    } else target[name] = await restoreRows(weight);
  }
  const masks = keepZeros ? masksOf(parameters) : {};
  if (trainable.kind === 'lora') return loraModel(model, frozen, chosen, trainable, seed);
  return {
    architecture,
    parameters,
    frozen,
    masks,
    hook: () => undefined,
    merge: (trained) => Promise.resolve(merged(weights, (name) => trained[name])),
  };
}

function masksOf(parameters: Readonly<Record<string, HostTensor<'f32'>>>): Record<string, HostTensor<'f32'>> {
  const masks: Record<string, HostTensor<'f32'>> = {};
  for (const [name, { shape, data }] of Object.entries(parameters)) {
    if (shape.length < 2) continue;
    let zeros = 0;
    for (const value of data) if (value === 0) zeros += 1;
    if (zeros < PRUNED_SHARE * data.length || zeros === data.length) continue;
    masks[name] = { dtype: 'f32', shape, data: data.map((value) => (value === 0 ? 0 : 1)) };
  }
  return masks;
}

const loraNames = ({ path }: LinearSpec) => ({ a: `${path}.lora_A.weight`, b: `${path}.lora_B.weight` });

function loraModel(
  { architecture, weights }: LanguageModel,
  frozen: Readonly<Record<string, HostTensor<'f32'>>>,
  chosen: ReadonlySet<string>,
  { rank, alpha }: TrainLora,
  seed: number,
): TrainableModel {
  const all = [...architecture.blocks.flatMap((block) => block.linears), architecture.head];
  const linears = all.filter(({ name }) => chosen.has(name));
  const parameters: Record<string, HostTensor<'f32'>> = {};
  for (const spec of linears) {
    const { a, b } = loraNames(spec);
    const random = randomStream(seed, `initial ${a}`);
    const first = Float32Array.from(
      { length: rank * spec.inFeatures },
      () => random.normal() / Math.sqrt(spec.inFeatures),
    );
    parameters[a] = { dtype: 'f32', shape: [rank, spec.inFeatures], data: first };
    parameters[b] = { dtype: 'f32', shape: [spec.outFeatures, rank], data: new Float32Array(spec.outFeatures * rank) };
  }
  const scale = alpha / rank;
  const paths = new Set(linears.map(({ path }) => path));
  return {
    architecture,
    parameters,
    frozen,
    masks: {},
    hook: (tensors) => (spec, x, apply) => {
      if (!paths.has(spec.path)) return apply();
      const { a, b } = loraNames(spec);
      return tf.add(apply(), tf.mul(linear(linear(x, tensors[a]!), tensors[b]!), scale));
    },
    merge: (trained) => {
      const byName = new Map(linears.map((spec) => [spec.name, spec]));
      return Promise.resolve(
        merged(weights, (name) => {
          const spec = byName.get(name);
          if (spec === undefined) return undefined;
          const { a, b } = loraNames(spec);
          return withAddition(frozen[name]!, trained[a]!, trained[b]!, scale);
        }),
      );
    },
  };
}

/** `W + scale B A`, sums in f64. */
function withAddition(
  { shape, data }: HostTensor<'f32'>,
  a: HostTensor<'f32'>,
  b: HostTensor<'f32'>,
  scale: number,
): HostTensor<'f32'> {
  const [rows, columns] = shape as [number, number];
  const rank = a.shape[0]!;
  const result = new Float32Array(rows * columns);
  const sums = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    sums.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scale * b.data[row * rank + r]!;
      if (factor === 0) continue;
      for (let column = 0; column < columns; column++) sums[column]! += factor * a.data[r * columns + column]!;
    }
    for (let column = 0; column < columns; column++) {
      result[row * columns + column] = data[row * columns + column]! + sums[column]!;
    }
  }
  return { dtype: 'f32', shape, data: result };
}

/** Puts trained values in the place of stored ones. */
function merged(
  weights: ReadonlyMap<string, WeightTensor>,
  trained: (name: string) => HostTensor<'f32'> | undefined,
): ReadonlyMap<string, WeightTensor> {
  const entries = [...weights].map(([name, weight]): [string, WeightTensor] => {
    if (weight.kind === 'factored') {
      const { left, right } = factorNames(name);
      const [first, second] = [trained(left), trained(right)];
      if (first === undefined || second === undefined) return [name, weight];
      return [name, factoredWeight({ name, left: stored(first, weight.left), right: stored(second, weight.right) })];
    }
    const values = trained(name);
    return [name, values === undefined ? weight : stored(values, weight)];
  });
  return new Map(entries);
}

/** Values as a dense weight in the dtype of the weight that they replace: f32 where that is no float of 32 bits or fewer. */
function stored({ shape, data }: HostTensor<'f32'>, before: WeightTensor): DenseWeight {
  const old = 'dtype' in before ? before.dtype : 'f32';
  const dtype = old === 'bf16' || old === 'f16' ? old : 'f32';
  return denseWeight({ name: before.name, dtype, shape, source: memoryBytes(fromF32(dtype, data)) });
}

// The weights of a model out of the tensors of a GGUF file: the way back of `gguf-tensors.ts`.
import type { GgufTensor } from '@pith/checkpoint';
import { byteRange, PithError, type WeightTensor } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { expectedTensors } from '../architecture/expected-tensors.ts';
import { storedWeightOf } from '../architecture/model-weights.ts';
import { rulesOf, type GgufFamily, type TensorRule } from './gguf-family.ts';
import { expertNames, singleExpertName, ungroupedRows } from './gguf-tensors.ts';
import { blockWeight } from './stored-blocks.ts';

/** What {@link ggufWeights} needs to know of a file. */
export interface GgufWeightFacts {
  /** How its architecture is laid out. */
  readonly family: GgufFamily;
  /** The architecture that its metadata describes. */
  readonly architecture: Architecture;
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Biases that hold zeros alone because llama.cpp wants them: left out where the architecture has none. */
  readonly zeroBiases: ReadonlySet<string>;
  /** Label of the file in errors. */
  readonly file: string;
}

/** Tensors that hold no weights: factors of the rotary embedding, which are part of the config. */
const CONSTANTS = /^(rope_freqs|rope_factors_long|rope_factors_short|blk\.\d+\.attn_rot_embd)\.weight$/;

/** A rule with the number of its block; null outside of the blocks. */
type BlockRule = TensorRule & { readonly index: number | null };

/**
 * Every weight by its name in a checkpoint, in the form that checkpoints store; nothing is read.
 *
 * @throws PithError `GGUF_TENSOR_UNKNOWN` (a tensor that the architecture does not have), `GGUF_SHAPE_INVALID`,
 * `GGUF_EXPERT_MISSING`.
 */
export function ggufWeights(facts: GgufWeightFacts): Map<string, WeightTensor> {
  const { family, architecture, tensors, zeroBiases, file } = facts;
  const expected = new Map(expectedTensors(architecture).map(({ name, shape }) => [name, shape]));
  const stored = storedWeightOf(architecture);
  const weights = new Map<string, WeightTensor>();
  const left = new Set([...tensors.keys()].filter((name) => !CONSTANTS.test(name) && !zeroBiases.has(name)));
  for (const rule of rulesOf(family, architecture.config.layers)) {
    for (const suffix of ['weight', 'bias']) {
      const names = rule.stacked ? expertNames(`${rule.hf}.${suffix}`, expected) : [`${rule.hf}.${suffix}`];
      if (names.length === 0 || !expected.has(names[0]!)) continue;
      const tensor = tensors.get(`${rule.gguf}.${suffix}`);
      const held = tensor === undefined ? [] : [tensor];
      const single = rule.stacked && tensor === undefined ? singleExperts(rule, suffix, names.length, facts) : [];
      for (const { name, byteLength } of [...held, ...single]) {
        left.delete(name);
        if (byteLength === 0) throw badShape(facts, tensors.get(name)!, 'hold values');
      }
      const parts = tensor === undefined ? single : partsOf(rule, names.length, tensor, facts);
      for (const [at, part] of parts.entries()) {
        const name = names[at]!;
        const rowOrder = rowOrderOf(rule, part, expected.get(name)!, facts);
        const { shape } = part;
        const { offset } = rule;
        const weight = blockWeight({
          name,
          shape,
          tensor: part,
          file,
          ...(rowOrder && { rowOrder }),
          ...(offset && { offset }),
        });
        weights.set(name, stored(weight));
      }
    }
  }
  const [unknown] = left;
  if (unknown === undefined) return weights;
  throw new PithError(
    'GGUF_TENSOR_UNKNOWN',
    `open GGUF: ${file}: ${unknown} is no tensor of this ${family.architecture} model; open the model that the file was made from`,
    { details: { file, tensor: unknown, unknown: [...left].slice(0, 16), architecture: family.architecture } },
  );
}

/** The weights that lie in a tensor one after the other, each as a tensor of its own. */
function partsOf({ stacked }: TensorRule, count: number, tensor: GgufTensor, facts: GgufWeightFacts): GgufTensor[] {
  if (stacked === undefined) return [tensor];
  const [held, ...shape] = tensor.shape;
  if (shape.length === 0 || held !== count) throw badShape(facts, tensor, `be a stack of ${count}`);
  const byteLength = tensor.byteLength / count;
  return Array.from({ length: count }, (_, at): GgufTensor => ({
    ...tensor,
    shape,
    byteLength,
    offset: tensor.offset + at * byteLength,
    source: byteRange(tensor.source, at * byteLength, byteLength),
  }));
}

/**
 * The tensors of experts that each have their own; none where the file has none of them.
 *
 * @throws PithError `GGUF_EXPERT_MISSING` where it has some.
 */
function singleExperts({ gguf }: TensorRule, suffix: string, count: number, { tensors, file }: GgufWeightFacts) {
  const names = Array.from({ length: count }, (_, expert) => singleExpertName(`${gguf}.${suffix}`, expert));
  const missing = names.find((name) => !tensors.has(name));
  if (missing === undefined) return names.map((name) => tensors.get(name)!);
  if (!names.some((name) => tensors.has(name))) return [];
  throw new PithError(
    'GGUF_EXPERT_MISSING',
    `open GGUF: ${file}: a file with a tensor for each expert must have those of all ${count}, ${missing} is missing; get the file again`,
    { details: { file, tensor: missing, experts: count } },
  );
}

/** Which row of the file is row i of the weight; undefined where none changes its place. */
function rowOrderOf(
  { rows, hf, index }: BlockRule,
  tensor: GgufTensor,
  [expected = 0]: readonly number[],
  facts: GgufWeightFacts,
): Int32Array | undefined {
  if (rows === undefined) return undefined;
  if (tensor.shape[0] !== expected) throw badShape(facts, tensor, `have ${expected} rows`);
  if (rows === 'rotary') return halvedRows(expected, facts.architecture.config.headDim);
  return inverse(ungroupedRows(facts.architecture, hf, index!));
}

/** The way back of llama.cpp's order of rotated heads. */
function halvedRows(rows: number, headDim: number): Int32Array {
  const half = headDim / 2;
  return Int32Array.from({ length: rows }, (_, row) => {
    const within = row % headDim;
    return row - within + (within < half ? 2 * within : 2 * (within - half) + 1);
  });
}

function inverse(order: Int32Array): Int32Array {
  const back = new Int32Array(order.length);
  order.forEach((from, to) => {
    back[from] = to;
  });
  return back;
}

function badShape({ file }: GgufWeightFacts, { name, shape }: GgufTensor, must: string): PithError {
  return new PithError(
    'GGUF_SHAPE_INVALID',
    `open GGUF: ${file}: ${name} must ${must}, its shape is [${shape.join(', ')}]; the file is damaged`,
    { details: { file, tensor: name, shape } },
  );
}

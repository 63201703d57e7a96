// Which tensors a GGUF file of a model holds, and which weights each is made of.
import { PithError } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { expectedTensors } from '../architecture/expected-tensors.ts';
import { partOfLinear, partRows } from '../architecture/part-rows.ts';
import { ggufFamily, rulesOf, type TensorRule } from './gguf-family.ts';
import { headOf, needsBias, queryScale } from './gguf-limits.ts';
import { rotaryTensors } from './rotary-factors.ts';

/** A weight whose rows go into a tensor of a GGUF file. */
export interface GgufPart {
  /** Name of the checkpoint's weight. */
  readonly name: string;
  /**
   * Length of the heads whose rows change places, null where none do: row i of the lower half of a head goes to 2 i, of the
   * upper half to 2 i + 1.
   */
  readonly rotaryHeadDim: number | null;
  /** Another order of rows: which row of the weight is row i of the file, for each i. */
  readonly rowOrder?: Int32Array;
  /** Rows that are taken of the weight, the others are not there; see {@link GgufSection}. */
  readonly section?: GgufSection;
  /** Added to every value. */
  readonly offset?: 1;
  /** Multiplies every value, after the addition. */
  readonly scale?: number;
}

/** Neighbouring rows of a weight, those of one head. */
export interface GgufSection {
  /** First row. */
  readonly start: number;
  /** How many. */
  readonly rows: number;
  /** True where they are turned round: each is a column of the file's matrix. */
  readonly turned: boolean;
}

/** A tensor of a GGUF file. */
export interface GgufTensorSource {
  /** Name in the GGUF file. */
  readonly name: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** Weights whose rows make it up, one after the other; empty for one that is computed. */
  readonly parts: readonly GgufPart[];
  /** Values of a tensor that is computed. */
  readonly values?: Float32Array;
}

/**
 * Every tensor of the file, in order.
 *
 * @throws PithError `GGUF_ARCHITECTURE_UNSUPPORTED`, `GGUF_TENSOR_UNMAPPED` (a weight has no place in the file).
 */
export function ggufTensors(architecture: Architecture): GgufTensorSource[] {
  const { config } = architecture;
  const family = ggufFamily(config.modelType);
  const left = new Map(expectedTensors(architecture).map(({ name, shape }) => [name, shape]));
  for (const name of left.keys()) if (ggufLeavesOut(config.modelType, name)) left.delete(name);
  const scaled = config.queryKeyNorm === null ? 'attn_q' : 'attn_q_norm';
  const tensors: GgufTensorSource[] = [];
  for (const rule of rulesOf(family, config.layers)) {
    const { gguf, hf, rows, offset, stacked, index } = rule;
    if (rule.part !== undefined || rule.suffix !== undefined) {
      tensors.push(...unusual(architecture, rule, left));
      continue;
    }
    for (const suffix of ['weight', 'bias']) {
      const first = `${hf}.${suffix}`.replace('{e}', '0');
      const shape = left.get(first);
      if (shape === undefined) {
        const weight = tensors.at(-1);
        if (suffix === 'bias' && weight?.name === `${gguf}.weight` && needsBias(config.modelType, moduleOf(gguf))) {
          tensors.push(zeros(`${gguf}.bias`, weight.shape[0]!));
        }
        continue;
      }
      const rotaryHeadDim = rows === 'rotary' ? config.headDim : null;
      const rowOrder = rows === 'grouped' ? ungroupedRows(architecture, hf, index!) : undefined;
      const names = stacked ? expertNames(`${hf}.${suffix}`, left) : [first];
      for (const name of names) left.delete(name);
      const scale = moduleOf(gguf) === scaled ? queryScale(config) : 1;
      const how = {
        rotaryHeadDim,
        ...(rowOrder && { rowOrder }),
        ...(offset && { offset }),
        ...(scale !== 1 && { scale }),
      };
      tensors.push({
        name: `${gguf}.${suffix}`,
        shape: stacked ? [names.length, ...shape] : shape,
        parts: names.map((name) => ({ name, ...how })),
      });
    }
    if (gguf === 'token_embd') {
      for (const [name, values] of rotaryTensors(config)) {
        tensors.push({ name: `${name}.weight`, shape: [values.length], parts: [], values });
      }
    }
  }
  const { embedding, head } = architecture;
  if (head.tied && headOf(config.modelType) === 'own') {
    const shape = [embedding.rows, embedding.columns];
    tensors.push({ name: 'output.weight', shape, parts: [{ name: embedding.name, rotaryHeadDim: null }] });
  }
  const [unmapped] = left.keys();
  if (unmapped === undefined) return tensors;
  throw new PithError(
    'GGUF_TENSOR_UNMAPPED',
    `export GGUF: every weight must have a place in the file, ${unmapped} of ${config.modelType} has none; choose another format`,
    { details: { tensor: unmapped, modelType: config.modelType } },
  );
}

/** The tensor of a rule that takes a weight apart, or that names it whole; none where the weight is not there. */
function unusual(
  { blocks }: Architecture,
  { gguf, hf, part, suffix, index }: TensorRule & { readonly index: number | null },
  left: Map<string, readonly number[]>,
): GgufTensorSource[] {
  const name = suffix === undefined ? `${hf}.weight` : hf;
  const shape = left.get(name);
  if (shape === undefined) return [];
  // The values come after the keys.
  if (part !== 'key') left.delete(name);
  if (part === undefined) return [{ name: `${gguf}.${suffix!}`, shape, parts: [{ name, rotaryHeadDim: null }] }];
  const linear = blocks[index!].linears.find(({ path }) => path === hf)!;
  const { start, length, stride, count } = partOfLinear(linear, part).rows;
  const turned = part === 'key';
  const matrix = turned ? [linear.inFeatures, length] : [length, linear.inFeatures];
  const parts = Array.from({ length: count }, (_, head): GgufPart => {
    return { name, rotaryHeadDim: null, section: { start: start + head * stride, rows: length, turned } };
  });
  return [{ name: `${gguf}.weight`, shape: [count, ...matrix], parts }];
}

/** `attn_q` of `blk.0.attn_q`. */
function moduleOf(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}

/** A vector that llama.cpp wants and the model does without. */
function zeros(name: string, length: number): GgufTensorSource {
  return { name, shape: [length], parts: [], values: new Float32Array(length) };
}

/** Weights without a place in the file that are left out, as llama.cpp's own converter does: BERT's head for masked words. */
export function ggufLeavesOut(modelType: string, name: string): boolean {
  return modelType === 'bert' && name.startsWith('cls.');
}

/** Names of the matrices of all experts. */
export function expertNames(pattern: string, known: ReadonlyMap<string, unknown>): string[] {
  const names: string[] = [];
  for (let expert = 0; known.has(pattern.replace('{e}', String(expert))); expert++) {
    names.push(pattern.replace('{e}', String(expert)));
  }
  return names;
}

const SINGLE_EXPERT = /^blk\.\d+\.ffn_(gate|up|down)\.\d+\.(weight|bias)$/;

/**
 * True for a tensor of one expert, `blk.0.ffn_gate.7.weight`: so llama.cpp's converters wrote Mixtral until April 2024, before experts
 * lay in one tensor.
 */
export function isSingleExpert(name: string): boolean {
  return SINGLE_EXPERT.test(name);
}

/** The tensor of expert `expert` in files that have one for each; `stacked` is the name of the tensor that holds all of them. */
export function singleExpertName(stacked: string, expert: number): string {
  return stacked.replace(/_exps\./, `.${expert}.`);
}

/** Rows that lie by group of heads, queries, key and value of one together, in the order query, key, value of all groups. */
export function ungroupedRows({ blocks }: Architecture, path: string, index: number): Int32Array {
  const linear = blocks[index]!.linears.find((one) => one.path === path)!;
  return Int32Array.from((['query', 'key', 'value'] as const).flatMap((role) => [...partRows(linear, role)]));
}

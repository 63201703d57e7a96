// Which tensors a GGUF file of a model holds, and what each is made of. Names: llama.cpp, gguf-py/gguf/constants.py.
import { PithError } from '@pith/tensor-core';
import type { Architecture, LinearRole, LinearSpec } from '../architecture/architecture.ts';
import { rotaryFactors } from './rotary-factors.ts';

/** A tensor of a GGUF file. */
export interface GgufTensorSource {
  /** Name in the GGUF file. */
  readonly name: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** Name of the checkpoint's tensor; null for one that is computed. */
  readonly source: string | null;
  /**
   * Length of the heads whose rows change places, null where none do: llama.cpp rotates neighbours of a head where
   * Hugging Face rotates its two halves, so that row i of the lower half goes to 2 i, and of the upper half to 2 i + 1.
   */
  readonly rotaryHeadDim: number | null;
  /** Values of a tensor that is computed. */
  readonly values?: Float32Array;
  /** What the tensor does, for the choice of its type. */
  readonly role: LinearRole | 'embedding' | 'norm' | 'bias' | 'constant';
  /** Index of its block; null outside of the blocks. */
  readonly block: number | null;
}

/** `general.architecture` by model type, and whether it rotates neighbours. */
const FAMILIES: Readonly<Record<string, { readonly architecture: string; readonly neighbours: boolean }>> = {
  llama: { architecture: 'llama', neighbours: true },
  mistral: { architecture: 'llama', neighbours: true },
  qwen2: { architecture: 'qwen2', neighbours: false },
};

const LINEAR_NAMES: Readonly<Partial<Record<LinearRole, string>>> = {
  query: 'attn_q',
  key: 'attn_k',
  value: 'attn_v',
  'attention-output': 'attn_output',
  gate: 'ffn_gate',
  up: 'ffn_up',
  down: 'ffn_down',
  head: 'output',
};

/**
 * What llama.cpp calls an architecture.
 *
 * @throws PithError `GGUF_ARCHITECTURE_UNSUPPORTED`.
 */
export function ggufFamily({ config }: Architecture): { readonly architecture: string; readonly neighbours: boolean } {
  const family = FAMILIES[config.modelType];
  if (family !== undefined) return family;
  throw new PithError(
    'GGUF_ARCHITECTURE_UNSUPPORTED',
    `export GGUF: the architecture must be one of ${Object.keys(FAMILIES).join(', ')}, got ${config.modelType}; choose another format`,
    { details: { modelType: config.modelType } },
  );
}

/**
 * Every tensor of the file, in order.
 *
 * @throws PithError `GGUF_ARCHITECTURE_UNSUPPORTED`.
 */
export function ggufTensors(architecture: Architecture): GgufTensorSource[] {
  const { embedding, blocks, finalNorm, head, config } = architecture;
  const { neighbours } = ggufFamily(architecture);
  const factors = rotaryFactors(config);
  return [
    {
      ...plain('token_embd.weight', embedding.name, [embedding.rows, embedding.columns]),
      role: 'embedding',
      block: null,
    },
    ...(factors === null
      ? []
      : [
          {
            ...plain('rope_freqs.weight', null, [factors.length]),
            values: factors,
            role: 'constant' as const,
            block: null,
          },
        ]),
    ...blocks.flatMap(({ index, norms, linears }) => [
      ...norms.map(({ name, features, role }) => ({
        ...plain(`blk.${index}.${role === 'attention' ? 'attn_norm' : 'ffn_norm'}.weight`, name, [features]),
        role: 'norm' as const,
        block: index,
      })),
      ...linears.flatMap((linear) => linearTensors(linear, `blk.${index}.${LINEAR_NAMES[linear.role]!}`, neighbours)),
    ]),
    ...(finalNorm === null
      ? []
      : [
          {
            ...plain('output_norm.weight', finalNorm.name, [finalNorm.features]),
            role: 'norm' as const,
            block: null,
          },
        ]),
    ...(head.tied ? [] : linearTensors(head, LINEAR_NAMES.head!, false)),
  ];
}

function plain(name: string, source: string | null, shape: readonly number[]) {
  return { name, source, shape, rotaryHeadDim: null };
}

function linearTensors(linear: LinearSpec, name: string, neighbours: boolean): GgufTensorSource[] {
  const { role, block, outFeatures, inFeatures, biasName, heads } = linear;
  const rotated = neighbours && (role === 'query' || role === 'key');
  const rotaryHeadDim = rotated ? heads!.dim : null;
  return [
    { name: `${name}.weight`, source: linear.name, shape: [outFeatures, inFeatures], rotaryHeadDim, role, block },
    ...(biasName === null
      ? []
      : [
          { name: `${name}.bias`, source: biasName, shape: [outFeatures], rotaryHeadDim, role: 'bias' as const, block },
        ]),
  ];
}

/**
 * Moves the rows of rotated heads to where llama.cpp expects them.
 *
 * @param rows f32 [heads * headDim, columns] row-major.
 * @returns a new array.
 */
export function interleaveHalves(rows: Float32Array, columns: number, headDim: number): Float32Array {
  const result = new Float32Array(rows.length);
  const count = rows.length / columns;
  for (let row = 0; row < count; row++) {
    const within = row % headDim;
    const half = headDim / 2;
    const to = row - within + (within < half ? 2 * within : 2 * (within - half) + 1);
    result.set(rows.subarray(row * columns, (row + 1) * columns), to * columns);
  }
  return result;
}

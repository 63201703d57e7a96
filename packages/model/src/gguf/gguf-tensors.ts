// Which tensors a GGUF file of a model holds, and which weights each is made of.
import { PithError } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { expectedTensors } from '../architecture/expected-tensors.ts';
import { ggufFamily, rulesOf } from './gguf-family.ts';
import { rotaryFactors } from './rotary-factors.ts';

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
  /** Added to every value. */
  readonly offset?: 1;
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
  const left = new Map(expectedTensors(architecture).map(({ name, shape }) => [name, shape]));
  const factors = rotaryFactors(config);
  const tensors: GgufTensorSource[] = [];
  for (const { gguf, hf, rows, offset, stacked } of rulesOf(ggufFamily(config.modelType), config.layers)) {
    for (const suffix of ['weight', 'bias']) {
      const first = `${hf}.${suffix}`.replace('{e}', '0');
      const shape = left.get(first);
      if (shape === undefined) continue;
      const rotaryHeadDim = rows === 'rotary' ? config.headDim : null;
      const rowOrder = rows === 'grouped' ? ungroupedRows(config.heads, config.headDim) : undefined;
      const names = stacked ? expertNames(`${hf}.${suffix}`, left) : [first];
      for (const name of names) left.delete(name);
      tensors.push({
        name: `${gguf}.${suffix}`,
        shape: stacked ? [names.length, ...shape] : shape,
        parts: names.map((name) => ({ name, rotaryHeadDim, ...(rowOrder && { rowOrder }), ...(offset && { offset }) })),
      });
    }
    if (gguf === 'token_embd' && factors !== null) {
      tensors.push({ name: 'rope_freqs.weight', shape: [factors.length], parts: [], values: factors });
    }
  }
  const [unmapped] = left.keys();
  if (unmapped === undefined) return tensors;
  throw new PithError(
    'GGUF_TENSOR_UNMAPPED',
    `export GGUF: every weight must have a place in the file, ${unmapped} of ${config.modelType} has none; choose another format`,
    { details: { tensor: unmapped, modelType: config.modelType } },
  );
}

/** Names of the matrices of all experts. */
function expertNames(pattern: string, known: ReadonlyMap<string, unknown>): string[] {
  const names: string[] = [];
  for (let expert = 0; known.has(pattern.replace('{e}', String(expert))); expert++) {
    names.push(pattern.replace('{e}', String(expert)));
  }
  return names;
}

/** Rows that lie by head, query, key and value of one together, in the order query, key, value of all heads. */
function ungroupedRows(heads: number, headDim: number): Int32Array {
  return Int32Array.from({ length: 3 * heads * headDim }, (_, row) => {
    const part = Math.floor(row / (heads * headDim));
    const head = Math.floor((row % (heads * headDim)) / headDim);
    return (3 * head + part) * headDim + (row % headDim);
  });
}

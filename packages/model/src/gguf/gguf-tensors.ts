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
  for (const { gguf, hf, rows } of rulesOf(ggufFamily(config.modelType), config.layers)) {
    for (const suffix of ['weight', 'bias']) {
      const name = `${hf}.${suffix}`;
      const shape = left.get(name);
      if (shape === undefined) continue;
      left.delete(name);
      const rotaryHeadDim = rows === 'rotary' ? config.headDim : null;
      tensors.push({ name: `${gguf}.${suffix}`, shape, parts: [{ name, rotaryHeadDim }] });
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

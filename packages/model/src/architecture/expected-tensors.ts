// Which tensors a checkpoint of an architecture holds, from the table alone.
import { PithError } from '@pith/tensor-core';
import type { Architecture, BlockSpec, EmbeddingSpec, LinearSpec, NormSpec } from './architecture.ts';

/** Name and shape of one tensor. */
export interface ExpectedTensor {
  /** Checkpoint name. */
  readonly name: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
}

/** The tensors of a norm. */
export function normTensors({ name, biasName, shape }: NormSpec): ExpectedTensor[] {
  return [{ name, shape }, ...(biasName === null ? [] : [{ name: biasName, shape }])];
}

/** The tensors of a linear. */
export function linearTensors({ name, biasName, outFeatures, inFeatures }: LinearSpec): ExpectedTensor[] {
  return [
    { name, shape: [outFeatures, inFeatures] },
    ...(biasName === null ? [] : [{ name: biasName, shape: [outFeatures] }]),
  ];
}

/** The tensors of one block. */
export function blockTensors(block: BlockSpec): ExpectedTensor[] {
  const { norms, linears, parameters } = block;
  return [...norms.flatMap(normTensors), ...linears.flatMap(linearTensors), ...parameters];
}

/** The tensors that stand between token ids and the first block, beside the tables that are looked up in. */
export function embeddingTensors({ embeddingNorm, inputProjection }: Architecture): ExpectedTensor[] {
  return [
    ...(embeddingNorm === null ? [] : normTensors(embeddingNorm)),
    ...(inputProjection === null ? [] : linearTensors(inputProjection)),
  ];
}

/** The tensors that stand between the last block and the output projection. */
export function finishTensors({ finalNorm, outputProjection }: Architecture): ExpectedTensor[] {
  return [
    ...(finalNorm === null ? [] : normTensors(finalNorm)),
    ...(outputProjection === null ? [] : linearTensors(outputProjection)),
  ];
}

const tableTensor = ({ name, rows, columns }: EmbeddingSpec): ExpectedTensor => ({ name, shape: [rows, columns] });

/** Every tensor that the program of an architecture reads, once each. */
export function expectedTensors(architecture: Architecture): ExpectedTensor[] {
  const { embedding, positions, tokenTypes, blocks, head } = architecture;
  return [
    tableTensor(embedding),
    ...[positions, tokenTypes].flatMap((table) => (table === null ? [] : [tableTensor(table)])),
    ...embeddingTensors(architecture),
    ...blocks.flatMap(blockTensors),
    ...finishTensors(architecture),
    ...linearTensors(head).slice(head.tied ? 1 : 0),
  ];
}

/** Something with a shape: a stored weight, the entry of a header. */
export interface Shaped {
  /** Outermost axis first. */
  readonly shape: readonly number[];
}

/** Tensors by checkpoint name, as {@link checkTensors} looks at them. */
export type TensorShapes = ReadonlyMap<string, Shaped>;

/** What of the tensors of a checkpoint is not as its architecture has it. */
export interface TensorDifferences {
  /** Names that the architecture has and the checkpoint has not. */
  readonly missing: readonly string[];
  /** Names that the checkpoint has and the architecture has not, but for those known to be ignorable. */
  readonly unexpected: readonly string[];
  /** Tensors of another shape. */
  readonly wrongShape: readonly {
    /** Checkpoint name. */
    readonly name: string;
    /** The shape by the architecture, outermost axis first. */
    readonly expected: readonly number[];
    /** The shape in the checkpoint. */
    readonly found: readonly number[];
  }[];
}

/** Compares the tensors of a checkpoint, by the names of the table, with those of the architecture. */
export function tensorDifferences(architecture: Architecture, tensors: TensorShapes): TensorDifferences {
  const expected = new Map(expectedTensors(architecture).map(({ name, shape }) => [name, shape]));
  const missing = [...expected.keys()].filter((name) => !tensors.has(name));
  const unexpected = [...tensors.keys()].filter(
    (name) => !expected.has(name) && !architecture.ignored.some((pattern) => pattern.test(name)),
  );
  const wrongShape = [...expected].flatMap(([name, shape]) => {
    const found = tensors.get(name)?.shape;
    return found && found.join() !== shape.join() ? [{ name, expected: shape, found }] : [];
  });
  return { missing, unexpected, wrongShape };
}

/**
 * Checks that the tensors of a checkpoint are those of the architecture: none missing, none of another shape, none
 * left over but those known to be ignorable. All offenders are in one error.
 *
 * @throws PithError `WEIGHTS_MISMATCH`.
 */
export function checkTensors(architecture: Architecture, tensors: TensorShapes): void {
  const { missing, unexpected, wrongShape } = tensorDifferences(architecture, tensors);
  if (missing.length + unexpected.length + wrongShape.length === 0) return;
  const list = (label: string, entries: readonly string[]) => {
    const shown = entries.slice(0, 8).join(', ');
    return entries.length === 0
      ? []
      : [`${label} ${shown}${entries.length > 8 ? ` and ${entries.length - 8} more` : ''}`];
  };
  const parts = [
    ...list('missing', missing),
    ...list('not in the architecture', unexpected),
    ...list(
      'of another shape',
      wrongShape.map(({ name, expected: want, found }) => `${name} [${found.join(', ')}] for [${want.join(', ')}]`),
    ),
  ];
  throw new PithError(
    'WEIGHTS_MISMATCH',
    `open model: the tensors must be those of config.json (${architecture.config.modelType}), got: ${parts.join('; ')}`,
    { details: { missing, unexpected, wrongShape } },
  );
}

// Which tensors a checkpoint of an architecture holds, from the table alone.
import { PithError } from '@pith/tensor-core';
import type { Architecture, BlockSpec } from './architecture.ts';

/** Name and shape of one tensor. */
export interface ExpectedTensor {
  /** Checkpoint name. */
  readonly name: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
}

/** The tensors of one block. */
export function blockTensors(block: BlockSpec): ExpectedTensor[] {
  return [
    ...block.norms.map(({ name, features }) => ({ name, shape: [features] })),
    ...block.linears.flatMap(({ name, biasName, outFeatures, inFeatures }) => [
      { name, shape: [outFeatures, inFeatures] },
      ...(biasName === null ? [] : [{ name: biasName, shape: [outFeatures] }]),
    ]),
  ];
}

/** Every tensor that the program of an architecture reads, once each. */
export function expectedTensors({ embedding, blocks, finalNorm, head }: Architecture): ExpectedTensor[] {
  return [
    { name: embedding.name, shape: [embedding.rows, embedding.columns] },
    ...blocks.flatMap(blockTensors),
    { name: finalNorm.name, shape: [finalNorm.features] },
    ...(head.tied ? [] : [{ name: head.name, shape: [head.outFeatures, head.inFeatures] }]),
    ...(head.biasName === null ? [] : [{ name: head.biasName, shape: [head.outFeatures] }]),
  ];
}

/** Something with a shape: a stored weight, the entry of a header. */
export interface Shaped {
  /** Outermost axis first. */
  readonly shape: readonly number[];
}

/** Tensors by checkpoint name, as {@link checkTensors} looks at them. */
export type TensorShapes = ReadonlyMap<string, Shaped>;

/**
 * Checks that the tensors of a checkpoint are those of the architecture: none missing, none of another shape, none
 * left over but those known to be ignorable. All offenders are in one error.
 *
 * @throws PithError `WEIGHTS_MISMATCH`.
 */
export function checkTensors(architecture: Architecture, tensors: TensorShapes): void {
  const expected = new Map(expectedTensors(architecture).map(({ name, shape }) => [name, shape]));
  const missing = [...expected.keys()].filter((name) => !tensors.has(name));
  const unexpected = [...tensors.keys()].filter(
    (name) => !expected.has(name) && !architecture.ignored.some((pattern) => pattern.test(name)),
  );
  const wrongShape = [...expected].flatMap(([name, shape]) => {
    const found = tensors.get(name)?.shape;
    return found && found.join() !== shape.join() ? [{ name, expected: shape, found }] : [];
  });
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

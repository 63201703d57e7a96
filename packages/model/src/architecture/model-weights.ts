// Stored weights and the weights of a model: the table has one name and one form for each matrix, checkpoints have several.
// Matrices that are stored [in, out] are turned round, tensors that hold all experts are taken apart, older names are read as
// those of the table. All lazily: nothing is read here.
import {
  denseWeight,
  PithError,
  type ByteDType,
  type ByteSource,
  type DenseWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import type { Architecture } from './architecture.ts';
import type { PackedExperts } from './storage-rules.ts';
import { renamedWeight } from '../technique/renamed-weight.ts';

/** What was stored, by the weight that was made of it. */
const ORIGINALS = new WeakMap<WeightTensor, WeightTensor>();

const SIZES: Readonly<Record<string, number>> = { f64: 8, f32: 4, f16: 2, bf16: 2 };

/** Bytes that are read at once to turn a matrix round. */
const PIECE_BYTES = 8 * 2 ** 20;

/** The bytes of a matrix [rows, columns] read as [columns, rows]. */
function turnedBytes(source: DenseWeight, rows: number, columns: number, size: number): ByteSource {
  const byteLength = rows * columns * size;
  const readInto = async (offset: number, target: Uint8Array): Promise<void> => {
    // Whole rows of the result are columns of the source: every row of the source gives a piece of each.
    const first = Math.floor(offset / (rows * size));
    const last = Math.ceil((offset + target.byteLength) / (rows * size));
    const turned = new Uint8Array((last - first) * rows * size);
    const each = Math.max(1, Math.floor(PIECE_BYTES / (columns * size)));
    for (let from = 0; from < rows; from += each) {
      const to = Math.min(rows, from + each);
      const piece = await source.bytes(from, to);
      for (let row = from; row < to; row++) {
        for (let column = first; column < last; column++) {
          const at = ((row - from) * columns + column) * size;
          const into = ((column - first) * rows + row) * size;
          for (let byte = 0; byte < size; byte++) turned[into + byte] = piece[at + byte];
        }
      }
    }
    const start = offset - first * rows * size;
    target.set(turned.subarray(start, start + target.byteLength));
  };
  return {
    byteLength,
    readInto,
    read: async (offset, length) => {
      const target = new Uint8Array(length);
      await readInto(offset, target);
      return target;
    },
  };
}

/** The transposed matrix; nothing is read until it is asked for. */
export function transposedWeight(weight: DenseWeight): DenseWeight {
  const original = ORIGINALS.get(weight);
  if (original?.kind === 'dense' && original.name === weight.name) return original;
  const { name, dtype, shape } = weight;
  const [rows = 1, columns = 1] = shape;
  const size = SIZES[dtype];
  if (shape.length !== 2 || size === undefined) {
    throw new PithError(
      'WEIGHT_NOT_TURNABLE',
      `transpose ${name}: it must be a matrix of f64, f32, f16 or bf16, got [${shape.join(', ')}] of ${dtype}; convert it first`,
      { details: { tensor: name, dtype, shape } },
    );
  }
  const turned = denseWeight({
    name,
    dtype: dtype as ByteDType,
    shape: [columns, rows],
    source: turnedBytes(weight, rows, columns, size),
  });
  ORIGINALS.set(turned, weight);
  return turned;
}

/** Matrices of single experts out of one tensor. */
function unpacked(
  weight: DenseWeight,
  { shape: [count, rows, columns], weights }: PackedExperts,
): [string, WeightTensor][] {
  const size = weight.byteLength / (count * rows * columns);
  const part = (name: string, start: number, end: number): DenseWeight => {
    const shift = start * columns * size;
    const byteLength = (end - start) * columns * size;
    // Axis 0 of the tensor is the expert, so that bytes are asked for by expert and cut.
    const own = weights.find((entry) => entry.name === name)!.expert;
    const read = async (offset: number, length: number) => {
      const all = await weight.bytes(own, own + 1);
      return all.subarray(shift + offset, shift + offset + length);
    };
    const file = weight.file && {
      path: weight.file.path,
      offset: weight.file.offset + own * rows * columns * size + shift,
    };
    return denseWeight({
      name,
      dtype: weight.dtype as ByteDType,
      shape: [end - start, columns],
      source: {
        byteLength,
        ...(file && { file }),
        read,
        readInto: async (offset, target) => target.set(await read(offset, target.byteLength)),
      },
    });
  };
  return weights.map(({ name, start, end }) => [name, part(name, start, end)]);
}

/** The name of a tied head that is stored without the embedding; undefined elsewhere. */
function headAlone({ embedding, head }: Architecture, has: (name: string) => boolean): string | undefined {
  const name = `${head.path}.weight`;
  return head.tied && has(name) && !has(embedding.name) ? name : undefined;
}

/** How the weights of a checkpoint differ from those of the table, in words for a plan; empty where they do not. */
export function storageDifferences(architecture: Architecture, names: Iterable<string>): string[] {
  const { storage } = architecture;
  const packed = new Set(storage.packed.map(({ name }) => name));
  const all = [...names];
  const renamed = all.filter((name) => storage.rename(name) !== name);
  const tensors = all.filter((name) => packed.has(storage.rename(name)));
  const turned = architecture.blocks.some(({ linears }) => linears.some(({ transposed }) => transposed));
  const alone = headAlone(architecture, (name) => all.some((given) => storage.rename(given) === name));
  return [
    ...(alone === undefined
      ? []
      : [
          `the token embedding is stored as ${alone}, to which the config ties it; it is written as ${architecture.embedding.name}`,
        ]),
    ...(renamed.length === 0
      ? []
      : [
          `${renamed.length} tensors have older names (${renamed[0]}); they are written as ${storage.rename(renamed[0]!)}`,
        ]),
    ...(tensors.length === 0
      ? []
      : [`${tensors.length} tensors hold all experts of a layer (${tensors[0]}); each expert is written for itself`]),
    ...(turned
      ? [
          'matrices are stored [in, out]: dense ones are written so again, quantized ones as [out, in] like those of other models',
        ]
      : []),
  ];
}

/**
 * The weights of a model out of those of a checkpoint, by the names of the table.
 *
 * @param stored by checkpoint name.
 */
export function modelWeights(
  architecture: Architecture,
  stored: ReadonlyMap<string, WeightTensor>,
): Map<string, WeightTensor> {
  const { storage, blocks } = architecture;
  const packed = new Map(storage.packed.map((entry) => [entry.name, entry]));
  const turned = new Set(
    blocks.flatMap(({ linears }) => linears.flatMap(({ name, transposed }) => (transposed ? [name] : []))),
  );
  const weights = new Map<string, WeightTensor>();
  for (const [given, weight] of stored) {
    const name = storage.rename(given);
    const pack = packed.get(name);
    if (pack && weight.kind === 'dense' && weight.shape.join() === pack.shape.join()) {
      for (const [part, matrix] of unpacked(weight, pack)) weights.set(part, matrix);
      continue;
    }
    const own = renamedWeight(weight, name);
    weights.set(name, turned.has(name) && own.kind === 'dense' && own.shape.length === 2 ? transposedWeight(own) : own);
  }
  const alone = headAlone(architecture, (name) => weights.has(name));
  if (alone !== undefined) {
    weights.set(architecture.embedding.name, renamedWeight(weights.get(alone)!, architecture.embedding.name));
    weights.delete(alone);
  }
  return weights;
}

/** A weight of a model as checkpoints store it: the inverse of what {@link modelWeights} does to matrices stored [in, out]. */
export function storedWeightOf(architecture: Architecture): (weight: WeightTensor) => WeightTensor {
  const turned = new Set(
    architecture.blocks.flatMap(({ linears }) => linears.flatMap(({ name, transposed }) => (transposed ? [name] : []))),
  );
  return (weight) => (turned.has(weight.name) && weight.kind === 'dense' ? transposedWeight(weight) : weight);
}

// Where stored tensors lie: inside the model, where all of them are small together, or one after the other in files beside it,
// named as transformers.js looks for them: `model.onnx_data`, `model.onnx_data_1`, ... Offsets are counted in bytes of a file
// and may pass 4 GiB; a tensor is never cut.
import { exportBytes, PithError } from '@pith/tensor-core';
import type { ExternalPlace } from '@pith/tensor-core';
import type { StoredTensor } from './store-matrix.ts';

/** Limits of {@link placeTensors}. */
export interface PlaceOptions {
  /** Name of the model's file: `model_q4.onnx`. */
  readonly file: string;
  /** Tensors go into the model itself where they have at most so many bytes together. */
  readonly inlineBytes: number;
  /** Most bytes of a file of tensors; a larger tensor has a file of its own. */
  readonly chunkBytes: number;
}

/** Where everything lies. */
export interface TensorPlaces {
  /** True where all tensors lie inside the model. */
  readonly isInline: boolean;
  /** By name of the tensor; for tensors inside the model as if they lay in one file. */
  readonly places: ReadonlyMap<string, ExternalPlace>;
  /** The files of tensors with their bytes, in order; empty where tensors lie inside the model. */
  readonly files: readonly {
    /** Name without a directory. */
    readonly name: string;
    /** Bytes. */
    readonly byteLength: number;
  }[];
  /** Bytes of all tensors. */
  readonly dataBytes: number;
}

/** Tensors inside the model up to so many bytes. */
export const INLINE_BYTES = 16 * 2 ** 20;
/** Bytes of a file of tensors: browsers cannot hold more than 2 GiB in one piece. */
export const ONNX_CHUNK_BYTES = 2_000_000_000;
/** As many files as transformers.js reads. */
const MOST_FILES = 100;
/** Large tensors begin at a page, so that runtimes can map them. */
const PAGE = 4096;
const LARGE = 2 ** 20;
const SMALL_ALIGNMENT = 64;

/**
 * Places tensors in the order given.
 *
 * @throws PithError `ONNX_TOO_MANY_FILES`.
 */
export function placeTensors(
  tensors: readonly StoredTensor[],
  { file, inlineBytes, chunkBytes }: PlaceOptions,
): TensorPlaces {
  const sizes = tensors.map(({ dtype, dims }) => exportBytes(dtype, dims));
  const dataBytes = sizes.reduce((sum, size) => sum + size, 0);
  const isInline = dataBytes <= inlineBytes;
  const places = new Map<string, ExternalPlace>();
  const lengths: number[] = [];
  tensors.forEach(({ name }, i) => {
    const byteLength = sizes[i];
    const unit = byteLength >= LARGE ? PAGE : SMALL_ALIGNMENT;
    let offset = Math.ceil((lengths.at(-1) ?? 0) / unit) * unit;
    if (lengths.length === 0 || (!isInline && offset > 0 && offset + byteLength > chunkBytes)) {
      lengths.push(0);
      offset = 0;
    }
    places.set(name, { file: dataFile(file, lengths.length - 1), offset, byteLength });
    lengths[lengths.length - 1] = offset + byteLength;
  });
  if (!isInline && lengths.length > MOST_FILES) {
    throw new PithError(
      'ONNX_TOO_MANY_FILES',
      `export ${file}: at most ${MOST_FILES} files of tensors are read by transformers.js, got ${lengths.length} of ` +
        `${chunkBytes} bytes; allow more bytes in a file`,
      { details: { files: lengths.length, limit: MOST_FILES, chunkBytes } },
    );
  }
  const files = isInline ? [] : lengths.map((byteLength, i) => ({ name: dataFile(file, i), byteLength }));
  return { isInline, places, files, dataBytes };
}

function dataFile(file: string, index: number): string {
  return `${file}_data${index === 0 ? '' : `_${index}`}`;
}

// Weights that go into a GGUF file as they are coded already: codes of GPTQ, compressed-tensors and MLX as ggml's blocks, and blocks of
// another GGUF file. Nothing is rounded but scales that are no f16 values. What was written is restored as ggml restores it and compared.
import type { FileHandle } from 'node:fs/promises';
import { schemeName } from '@pith/checkpoint';
import type { GgufPart } from '@pith/model';
import { carriesCodes, carryRows, type GgmlWritableType } from '@pith/quant';
import { throwIfStopped, type PackedWeight, type QuantizedWeight, type WeightTensor } from '@pith/tensor-core';
import type { Intervention, WeightError } from '../../receipt/types.ts';
import { errorOf } from '../../stages/weight-error.ts';

/** Codes in hand at a time. */
const CHUNK_CODES = 2 ** 21;

/** A weight that is carried over, and where it goes. */
export interface CarryJob {
  /** The weight. */
  readonly weight: QuantizedWeight | PackedWeight;
  /** Type of the blocks. */
  readonly type: GgmlWritableType;
  /** Which row of the weight is row i of the file, for each i; their own order when left out. */
  readonly rowOrder?: Int32Array | undefined;
  /** An open file. */
  readonly file: FileHandle;
  /** Byte offset there. */
  readonly offset: number;
}

/** What came of a weight that was carried over. */
export interface Carried {
  /** How restored blocks differ from the weight; null where they do not. */
  readonly error: WeightError | null;
  /** Scales that were rounded. */
  readonly interventions: readonly Intervention[];
}

/** True where a part of a tensor, which `derivedWeight` gave, goes into blocks of a type as it is. Nothing is read. */
export function isCarried(
  weight: WeightTensor,
  { rotaryHeadDim, rowOrder }: GgufPart,
  type: GgmlWritableType,
): weight is QuantizedWeight | PackedWeight {
  if (weight.kind !== 'packed') return carriesCodes(weight, type);
  // Blocks are read row after row: in another order they are coded anew.
  const moves = rotaryHeadDim !== null || rowOrder !== undefined;
  return weight.coding === type && weight.bytes !== undefined && !moves;
}

/** Why the codes of a weight are not rounded again, for the plan. */
export function carriedReason({ scheme }: QuantizedWeight): string {
  const exact = scheme.scaleDType === 'f16' || scheme.scaleDType === 'f8_e8m0';
  return `codes of ${schemeName(scheme)} carried over, not rounded again${exact ? '' : '; scales as f16'}`;
}

/**
 * Writes the blocks of a weight.
 *
 * @throws PithError those of `carryRows`; `STOPPED`.
 */
export async function carryWeight(
  { weight, type, rowOrder, file, offset }: CarryJob,
  signal?: AbortSignal,
): Promise<Carried> {
  const [rows = 1, ...rest] = weight.shape;
  const perRow = rest.reduce((a, b) => a * b, 1);
  const step = Math.max(1, Math.floor(CHUNK_CODES / perRow));
  let [place, rounded, squares, differences, maxError] = [offset, 0, 0, 0, 0];
  for (let start = 0; start < rows; start += step) {
    throwIfStopped(signal, 'export');
    const end = Math.min(rows, start + step);
    let bytes: Uint8Array;
    if (weight.kind === 'packed') bytes = await weight.bytes!(start, end);
    else {
      const made = await carryRows({ weight, type, rowOrder }, start, end);
      bytes = made.bytes;
      rounded += made.rounded;
      squares += made.sumSquares;
      differences += made.sumSquaredError;
      maxError = Math.max(maxError, made.maxAbsError);
    }
    await file.write(bytes, 0, bytes.length, place);
    place += bytes.length;
  }
  return {
    error: maxError === 0 ? null : errorOf({ values: rows * perRow, squares, differences, maxError }),
    interventions: rounded === 0 ? [] : [scalesRounded(weight.name, type, rounded)],
  };
}

function scalesRounded(name: string, type: GgmlWritableType, count: number): Intervention {
  return {
    stage: 'export',
    code: 'SCALES_ROUNDED',
    where: name,
    message: `${count} scales of ${type} blocks are no f16 values and were rounded to one, by 2^-11 of the scale at most where it is no subnormal`,
    details: { type, scales: count },
  };
}

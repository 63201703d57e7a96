// From the sums of the rows to the error of a weight.
import { ROW_ERROR_BYTES } from './kernel-arguments.ts';
import type { QuantizationError } from './rtn-types.ts';

/** Collects the sums of rows in any order and adds them in the order of the rows. */
export class ErrorReport {
  readonly #squaredErrors: Float64Array;
  readonly #squares: Float64Array;
  readonly #count: number;
  #maxAbsError = 0;
  #clipped = 0;
  #zeroScales = 0;

  constructor([rows, columns]: readonly [rows: number, columns: number]) {
    this.#squaredErrors = new Float64Array(rows);
    this.#squares = new Float64Array(rows);
    this.#count = rows * columns;
  }

  /** Takes the sums of rows from `firstRow` on as the kernels write them. */
  add(firstRow: number, rows: number, bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, rows * ROW_ERROR_BYTES);
    for (let row = 0; row < rows; row += 1) {
      const at = row * ROW_ERROR_BYTES;
      this.#squaredErrors[firstRow + row] = view.getFloat64(at, true);
      this.#squares[firstRow + row] = view.getFloat64(at + 8, true);
      this.#maxAbsError = Math.max(this.#maxAbsError, view.getFloat32(at + 16, true));
      this.#clipped += view.getInt32(at + 20, true);
      this.#zeroScales += view.getInt32(at + 24, true);
    }
  }

  /** The error of the weight. `zeroScales` adds those that no row knows of. */
  result(zeroScales = 0): QuantizationError {
    const sumSquaredError = this.#squaredErrors.reduce((sum, value) => sum + value, 0);
    const sumSquares = this.#squares.reduce((sum, value) => sum + value, 0);
    const ratio = sumSquares / sumSquaredError;
    return {
      count: this.#count,
      mse: this.#count === 0 ? 0 : sumSquaredError / this.#count,
      signalToNoise: sumSquaredError === 0 ? Infinity : 10 * Math.log10(ratio),
      maxAbsError: this.#maxAbsError,
      clippedFraction: this.#count === 0 ? 0 : this.#clipped / this.#count,
      sumSquaredError,
      sumSquares,
      zeroScales: this.#zeroScales + zeroScales,
    };
  }
}

import type { DType, QuantizationScheme } from '@pith/tensor-core';
import type { CodeStorage } from '../scheme/scheme.ts';
/** Which tensor of a quantized weight. */
export type PieceName = 'codes' | 'scales' | 'zeroPoints';
/** One stored tensor of a quantized weight. */
export interface Piece {
    readonly piece: PieceName;
    /** `i32` for packed words, `i8`, `f8_e4m3` or `f8_e5m2` for bytes; the scale dtype for scales. */
    readonly dtype: DType;
    /**
     * codes: [rows, ceil(columns * bits / 32)] packed or [rows, columns] in bytes; scales: [rows, groups per row], or [1]
     * for one scale per tensor; zeroPoints: int8 like the scales, or packed along the rows: int32
     * [ceil(rows * bits / 32), groups per row].
     */
    readonly shape: readonly number[];
    readonly byteLength: number;
}
/** Groups of a row: columns / size for groups, 1 otherwise. */
export declare function groupsPerRow(scheme: QuantizationScheme, columns: number): number;
/**
 * The tensors that hold a weight [rows, columns] under a scheme, in the order codes, scales, zeroPoints. The scheme
 * must fit the shape (see `fitScheme`).
 */
export declare function quantizedPieces(shape: readonly [rows: number, columns: number], scheme: QuantizationScheme, storage: CodeStorage): readonly Piece[];
//# sourceMappingURL=pieces.d.ts.map
/**
 * Restores one block: reads its bytes from `at` on and writes its values to `values` from `to` on.
 *
 * All arithmetic is f32, each operation rounded, in the order in which ggml's reference does it, so that results are equal
 * bit for bit.
 */
export type BlockReader = (bytes: Uint8Array, at: number, values: Float32Array, to: number) => void;

// Orders of rows that runtimes want.

/**
 * The order in which llama.cpp wants the rows of rotated heads: it rotates neighbours of a head where Hugging Face rotates its
 * two halves, so that row 2 i of a head is row i of its lower half, and row 2 i + 1 is row i of its upper half.
 *
 * @param rows a multiple of `headDim`.
 * @param headDim even.
 * @returns which row comes i-th, for each i.
 */
export function interleavedRows(rows: number, headDim: number): Int32Array {
  return Int32Array.from({ length: rows }, (_, row) => {
    const within = row % headDim;
    return row - within + (within >> 1) + (within & 1) * (headDim / 2);
  });
}

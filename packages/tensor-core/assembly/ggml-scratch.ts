// Where a call of ggmlQuantizeRows keeps what: offsets in its scratch memory. A batch is 256 values: one block of the
// k-quants, eight blocks of 32.

/** 256 f32 transposed: four sub-blocks after the other four. */
export const LANES_X: usize = 0;
/** Their weights, transposed alike. */
export const LANES_W: usize = 1024;
/** Codes as f32, transposed alike. */
export const LANES_Q: usize = 2048;
/** Products that a search uses again and again. */
export const LANES_P: usize = 3072;
/** Weights in the order of the values. */
export const WEIGHTS: usize = 4096;
/** Codes in the order of the values: a byte each. */
export const CODES: usize = 5120;
/** What a search over four sub-blocks found: vectors. */
export const FIT: usize = 5376;
/** Scales of sub-blocks: up to 16 f32. */
export const SCALES: usize = 5504;
/** Offsets of sub-blocks. */
export const OFFSETS: usize = 5568;
/** Sums of weights of sub-blocks. */
export const SUMS: usize = 5632;
/** Codes of scales and of offsets: f32 each. */
export const SCALE_CODES: usize = 5696;
export const OFFSET_CODES: usize = 5760;
/** A batch as it will be restored. */
export const RESTORED: usize = 6144;
/** Importance of a batch whose blocks are not eight. */
export const PADDED_IMPORTANCE: usize = 7168;
/** Inverse scales that the codes of a fit were made with, and their offsets: up to 16 f32 each. */
export const INVERSES: usize = 8192;
export const BASES: usize = 8256;
// For vectors of a grid, whose blocks are whole batches and restored after they are written:
/** What the signs left of 256 values, in their order. */
export const MAGNITUDES: usize = RESTORED;
/** Square roots of their weights. */
export const ROOTS: usize = PADDED_IMPORTANCE;
/** Words of a fit of four sub-blocks: vectors, as i32. */
export const GRID_WORDS: usize = CODES;
/** Words that are tried. */
export const GRID_TRIED: usize = 5248;
/** A byte of signs for every eight values. */
export const SIGNS: usize = SCALE_CODES;
/** Running sums of sorted values, and products of them. */
export const CUTS: usize = 8320;
/** The row as f32, with room for a batch of zeros. */
export const ROW: usize = 11584;

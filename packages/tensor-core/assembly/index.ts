// Every kernel. Rules for the files beside this one:
// - arguments are byte addresses (usize), counts (i32) and constants; results are numbers. No i64 in a signature.
// - nothing is allocated and no memory is kept between calls: scratch is an argument. Several threads run the same
//   kernel over one shared memory, and static data lies below STATIC_BYTES (src/kernels/instance.ts).
// - only fixed-width SIMD: relaxed SIMD is absent from Node 20 and would make results depend on the processor.
export * from './column-scales';
export * from './convert-float';
export * from './convert-integer';
export { ggmlQuantizeRows, ggmlRestore, ggmlScratchBytes } from './ggml';
export { ggmlGridWord } from './ggml-restore-iq';
export * from './linalg';
export * from './obs';
export * from './pack';
export { packZeroPoints, quantizeRows, quantizeScratchBytes, searchRows } from './quantize';
export { quantizeTiles, tileScratchBytes } from './quantize-tiles';
export { countRows, measureRows } from './range';
export * from './restore';
export * from './select';
export * from './transpose';

/** First byte after the static data of the kernels. */
export function staticEnd(): usize {
  return __heap_base;
}

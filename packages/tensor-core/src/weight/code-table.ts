// The tables of 16 values that 4-bit codes of bitsandbytes number, as its version 0.50 has them, rounded to f32.
//
// nf4: quantiles of the normal distribution with an exact zero (Dettmers et al. 2023, QLoRA, appendix E). fp4: bit 3 is
// the sign, the values are 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3, 1.
import type { CodeTable } from './weight-tensor.ts';

const NF4 = Float32Array.of(
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453],
  ...[-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0],
  ...[0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
  ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
);
const FP4_HALF = [0, 0.0052083334885537624, 0.6666666865348816, 1, 0.3333333432674408, 0.5, 0.1666666716337204, 0.25];
const FP4 = Float32Array.of(...FP4_HALF, ...FP4_HALF.map((value) => (value === 0 ? 0 : -value)));

/** The 16 values of a table by their codes, f32; do not write to it. */
export function codeTable(table: CodeTable): Float32Array {
  return table === 'nf4' ? NF4 : FP4;
}

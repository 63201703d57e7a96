// The tensor types of GGUF: number, name, values and bytes of a block. The only place with these constants.

/** Name of a tensor type, in lower case as on the command line: `q4_k`. */
export type GgmlTypeName = keyof typeof TYPES;

/** How values of a type are stored. */
export interface GgmlType {
  /** Number in the file. */
  readonly id: number;
  /** Values that are coded together, along a row. */
  readonly blockSize: number;
  /** Bytes of such a block. */
  readonly blockBytes: number;
}

const type = (id: number, blockSize: number, blockBytes: number): GgmlType => ({ id, blockSize, blockBytes });

const TYPES = {
  f32: type(0, 1, 4),
  f16: type(1, 1, 2),
  q4_0: type(2, 32, 18),
  q4_1: type(3, 32, 20),
  q5_0: type(6, 32, 22),
  q5_1: type(7, 32, 24),
  q8_0: type(8, 32, 34),
  q2_k: type(10, 256, 84),
  q3_k: type(11, 256, 110),
  q4_k: type(12, 256, 144),
  q5_k: type(13, 256, 176),
  q6_k: type(14, 256, 210),
  iq2_xxs: type(16, 256, 66),
  iq2_xs: type(17, 256, 74),
  iq3_xxs: type(18, 256, 98),
  iq1_s: type(19, 256, 50),
  iq4_nl: type(20, 32, 18),
  iq3_s: type(21, 256, 110),
  iq2_s: type(22, 256, 82),
  iq4_xs: type(23, 256, 136),
  i8: type(24, 1, 1),
  i16: type(25, 1, 2),
  i32: type(26, 1, 4),
  i64: type(27, 1, 8),
  f64: type(28, 1, 8),
  iq1_m: type(29, 256, 56),
  bf16: type(30, 1, 2),
  tq1_0: type(34, 256, 54),
  tq2_0: type(35, 256, 66),
  mxfp4: type(39, 32, 17),
  nvfp4: type(40, 64, 36),
  q1_0: type(41, 128, 18),
  q2_0: type(42, 64, 18),
} as const satisfies Record<string, GgmlType>;

/** All types of tensors in files; numbers of types that were removed from ggml are left out. */
export const GGML_TYPES: Readonly<Record<GgmlTypeName, GgmlType>> = TYPES;

const BY_ID = new Map(Object.entries(GGML_TYPES).map(([name, { id }]) => [id, name as GgmlTypeName]));

/** The name of a type by its number; undefined for a number that is not in use. */
export function ggmlTypeName(id: number): GgmlTypeName | undefined {
  return BY_ID.get(id);
}

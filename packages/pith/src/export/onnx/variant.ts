// Variants of the format `onnx`: what weights and inputs become.
import type { StorageRequest, TransformersJsFormat } from '@pith/model';

/** A variant, read. */
export interface OnnxVariant {
  /** What transformers.js calls it; names the file. */
  readonly format: TransformersJsFormat;
  /** How matrices are stored. */
  readonly storage: StorageRequest;
  /** Whether inputs have a scale from calibration. */
  readonly isStatic: boolean;
}

/** The variants that help lists. */
export const ONNX_VARIANTS = [
  'f32',
  'f16',
  'int8',
  'int8-token',
  'int8-static',
  'int8-qdq',
  'q8',
  'q4',
  'q4f16',
] as const;

const BLOCKS = /^q4(f16)?(?:g(16|32|64|128|256))?(-asym)?$/;
/** Columns of a block of 4-bit codes where none are asked for. */
const DEFAULT_BLOCK = 32;

/** Reads a variant; undefined for what is none. */
export function parseVariant(variant: string): OnnxVariant | undefined {
  const plain = { dtype: 'f32', blockSize: DEFAULT_BLOCK, symmetric: true, activations: 'none' } as const;
  if (variant === 'f32') return { format: 'f32', storage: { ...plain, weights: 'f32' }, isStatic: false };
  if (variant === 'f16') return { format: 'f16', storage: { ...plain, weights: 'f16', dtype: 'f16' }, isStatic: false };
  if (variant === 'q8') return { format: 'q8', storage: { ...plain, weights: 'q8' }, isStatic: false };
  const activations = INT8_INPUTS[variant];
  if (activations !== undefined) {
    const storage = { ...plain, weights: 'int8', activations } as const;
    return { format: 'int8', storage, isStatic: variant === 'int8-static' };
  }
  const [, half, size, asymmetric] = BLOCKS.exec(variant) ?? [];
  if (!BLOCKS.test(variant)) return undefined;
  return {
    format: half === undefined ? 'q4' : 'q4f16',
    storage: {
      ...plain,
      weights: 'q4',
      dtype: half === undefined ? 'f32' : 'f16',
      blockSize: size === undefined ? DEFAULT_BLOCK : Number(size),
      symmetric: asymmetric === undefined,
    },
    isStatic: false,
  };
}

const INT8_INPUTS: Readonly<Record<string, StorageRequest['activations']>> = {
  int8: 'tensor-dynamic',
  'int8-token': 'token-dynamic',
  'int8-static': 'none',
  'int8-qdq': 'none',
};

/** A variant in words. */
export function describeVariant(variant: string): string {
  const { format, storage } = parseVariant(variant)!;
  if (format === 'f32' || format === 'f16') return `all weights as ${format}`;
  if (format === 'q8') return 'matrices as blocks of 8-bit codes (MatMulNBits), inputs as they are';
  if (format === 'int8') return `matrices as rows of 8-bit codes, ${INPUT_WORDS[variant]}`;
  const kind = storage.symmetric ? 'symmetric' : 'asymmetric';
  const products = storage.dtype === 'f16' ? ', products in f16' : '';
  return `matrices as 4-bit codes (MatMulNBits), ${kind}, blocks of ${storage.blockSize}, embedding and head 8 bits${products}`;
}

const INPUT_WORDS: Readonly<Record<string, string>> = {
  int8: 'inputs rounded to 8 bits with one scale for all tokens of a run (MatMulInteger)',
  'int8-token': 'inputs rounded to 8 bits with a scale for each token (MatMulInteger)',
  'int8-static': 'inputs rounded to 8 bits with scales from calibration (QDQ)',
  'int8-qdq': 'inputs as they are (DequantizeLinear)',
};

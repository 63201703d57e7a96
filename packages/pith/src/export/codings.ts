// The formats of quantized checkpoints and their variants: which codes each has, how its own tools round to them, and which
// scheme a method takes for them. Exports, `quantize` and recipes read this one table.
import { awq, bitsandbytes, gptq, hqq, mlx, schemeName, type WeightFormat } from '@pith/checkpoint';
import { roundAwq, roundGptq, roundHqq, roundMlx, roundMlxMode, roundTable, type MlxMode } from '@pith/quant';
import type { CodeTable, DenseWeight, QuantizedWeight, StoredScheme } from '@pith/tensor-core';

/** A variant of a format. */
export interface Coding {
  /** How codes lie in files. */
  readonly format: WeightFormat;
  /** The scheme that a method takes for it: `w4g64-asym`; undefined where no method of Pith makes such codes. */
  readonly scheme: string | undefined;
  /** True for codes that the format holds exactly as the variant has them. */
  readonly holds: (scheme: StoredScheme) => boolean;
  /** True where the embedding and the output projection are coded too. */
  readonly everything: boolean;
  /** A dense weight as the tools of the format round it. */
  readonly round: (weight: DenseWeight) => QuantizedWeight;
}

/** A format and its variants. */
export interface CodedFormat {
  /** Name on the command line. */
  readonly name: string;
  /** One line of help. */
  readonly summary: string;
  /** Names behind the colon, the default first. */
  readonly variants: readonly string[];
  /** True for further variants. */
  readonly accepts: (variant: string) => boolean;
  /** What a variant is; for those that are listed or accepted. */
  readonly coding: (variant: string) => Coding;
}

const INTEGERS = /^(?:w)?([2348])(?:g(\d{1,6}))?(-asym)?$/;
const OFFSETS = /^(?:w)?([234568])(?:g(\d{1,6}))?$/;
const GROUPED = /^(?:w)?4g(\d{1,6})$/;
const AFFINE = /^(?:w)?([234568])(?:g(32|64|128))?$/;
const MODES: readonly string[] = ['mxfp4', 'mxfp8', 'nvfp4'] satisfies MlxMode[];

/** Schemes by their names; zero points do not count, where a format has them always. */
function named(...names: readonly string[]): (scheme: StoredScheme) => boolean {
  return (scheme) => names.includes(schemeName(scheme));
}

/** GPTQ: 4 bits in groups of 128 where nothing is said. */
const GPTQ: CodedFormat = {
  name: 'gptq',
  summary: 'GPTQ as transformers, GPTQModel and vLLM load it',
  variants: ['4g128', '4g128-asym', '8g128', '3g128', '2g64'],
  accepts: (variant) => INTEGERS.test(variant),
  coding: (variant) => {
    const [, bits, group, asym] = INTEGERS.exec(variant)!;
    const given = { bits: Number(bits), groupSize: group ? Number(group) : -1, symmetric: asym === undefined };
    const scheme = `w${bits}${group ? `g${group}` : ''}${asym ?? ''}`;
    const round = (weight: DenseWeight) => roundGptq(weight, given);
    return { format: gptq, scheme, holds: named(scheme), everything: false, round };
  },
};

/** AWQ's layout: groups of 128 where nothing is said. */
const AWQ: CodedFormat = {
  name: 'awq',
  summary: 'AWQ GEMM (4 bits) as AutoAWQ, transformers and vLLM load it',
  variants: ['4g128', '4g64', '4g32'],
  accepts: (variant) => GROUPED.test(variant),
  coding: (variant) => {
    const size = Number(GROUPED.exec(variant)![1]);
    const scheme = `w4g${size}`;
    const round = (weight: DenseWeight) => roundAwq(weight, size);
    const holds = named(scheme, `${scheme}-asym`);
    return { format: awq, scheme: `${scheme}-asym`, holds, everything: false, round };
  },
};

/** MLX: affine codes in groups of 64 where nothing is said, and its floating-point modes. */
const MLX: CodedFormat = {
  name: 'mlx',
  summary: 'MLX codes as mlx-lm loads them, embedding and output projection too',
  variants: ['4', '2', '3', '5', '6', '8', ...MODES],
  accepts: (variant) => AFFINE.test(variant),
  coding: (variant) => {
    if (MODES.includes(variant)) {
      const round = (weight: DenseWeight) => roundMlxMode(weight, variant as MlxMode);
      // Codes of a method come with a scale of the whole tensor, which MLX's nvfp4 has not.
      const scheme = variant === 'nvfp4' ? undefined : variant;
      return { format: mlx, scheme, holds: named(variant), everything: true, round };
    }
    const [, bits, group = '64'] = AFFINE.exec(variant)!;
    const scheme = `w${bits}g${group}`;
    return {
      format: mlx,
      scheme: `${scheme}-asym`,
      holds: named(scheme, `${scheme}-asym`, `mlx${bits}g${group}`),
      everything: true,
      round: (weight) => roundMlx(weight, Number(bits), Number(group)),
    };
  },
};

/** NF4 and FP4 in blocks of 64. */
const BITSANDBYTES: CodedFormat = {
  name: 'bitsandbytes',
  summary: 'bitsandbytes 4-bit tables as transformers loads them; -double codes the maxima again',
  variants: ['nf4', 'nf4-double', 'fp4', 'fp4-double'],
  accepts: () => false,
  coding: (variant) => {
    const table = variant.slice(0, 3) as CodeTable;
    const format = bitsandbytes({ double: variant.endsWith('-double') });
    const round = (weight: DenseWeight) => roundTable(weight, table, 64);
    return { format, scheme: undefined, holds: named(`${table}g64`), everything: false, round };
  },
};

/** HQQ: half-quadratic zero points in groups of 64 where nothing is said. */
const HQQ: CodedFormat = {
  name: 'hqq',
  summary: 'HQQ as hqq and vLLM load it, zero points found as --method hqq finds them',
  variants: ['4', '8', '3', '2'],
  accepts: (variant) => OFFSETS.test(variant),
  coding: (variant) => {
    const [, bits, group = '64'] = OFFSETS.exec(variant)!;
    const scheme = `w${bits}g${group}`;
    return {
      format: hqq,
      scheme: `${scheme}-asym`,
      holds: named(scheme, `${scheme}-asym`, `mlx${bits}g${group}`),
      everything: false,
      round: (weight) => roundHqq(weight, { bits: Number(bits), groupSize: Number(group), scaleDType: 'f16' }),
    };
  },
};

/** Formats of quantized checkpoints whose own tools round, in the order of the help. */
export const CODED_FORMATS: readonly CodedFormat[] = Object.freeze([GPTQ, AWQ, MLX, BITSANDBYTES, HQQ]);

/** A coded format by its name; undefined for others. */
export function codedFormat(name: string): CodedFormat | undefined {
  return CODED_FORMATS.find((format) => format.name === name);
}

// Formats of quantized checkpoints, rounded to nearest as their own tools do it: GPTQ, AWQ, MLX, bitsandbytes. Weights that
// are coded alike already keep their codes. Methods that look at a text write the same formats (`pith quantize --format`).
import {
  awq,
  bitsandbytes,
  gptq,
  mlx,
  schemeName,
  setMembers,
  type StoredWeightsOptions,
  type WeightFormat,
} from '@pith/checkpoint';
import { saveCheckpoint } from '@pith/checkpoint/node';
import { plannedWeight, storageDifferences, storedWeightOf } from '@pith/model';
import type { OpenModel } from '@pith/model/node';
import { roundAwq, roundGptq, roundMlx, roundTable } from '@pith/quant';
import {
  isPithError,
  type CodeTable,
  type DenseWeight,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import { DEFAULT_SHARD_BYTES } from '../../plan/quantize-config.ts';
import type { PlannedTensor, PlanProblem } from '../../plan/types.ts';
import { carriedFiles } from '../../source/carried-files.ts';
import { restoredWeight } from '../../source/restored-weight.ts';
import { plannedLayout, storedOptions } from '../../stages/layout.ts';
import type { ExportFormat, ExportRequest, PreparedExport } from '../format.ts';
import { unusedOptions } from '../unused-options.ts';

/** A format and a way to round into it. */
interface Coding {
  readonly format: WeightFormat;
  /** Name of the scheme that weights may have already, without what tells zero points. */
  readonly scheme: string;
  /** True where the embedding and the output projection are coded too. */
  readonly everything: boolean;
  readonly round: (weight: DenseWeight) => QuantizedWeight;
}

const INTEGERS = /^(?:w)?([2348])(?:g(\d{1,6}))?(-asym)?$/;
const AFFINE = /^(?:w)?([234568])(?:g(32|64|128))?$/;

/** GPTQ: 4 bits in groups of 128 where nothing is said. */
export const gptqExport: ExportFormat = coded({
  name: 'gptq',
  summary: 'GPTQ as transformers, GPTQModel and vLLM load it',
  variants: ['4g128', '4g128-asym', '8g128', '3g128', '2g64'],
  accepts: (variant) => INTEGERS.test(variant),
  coding: (variant) => {
    const [, bits, group, asym] = INTEGERS.exec(variant)!;
    const given = { bits: Number(bits), groupSize: group ? Number(group) : -1, symmetric: asym === undefined };
    const scheme = `w${bits}${group ? `g${group}` : ''}${asym ?? ''}`;
    return { format: gptq, scheme, everything: false, round: (weight) => roundGptq(weight, given) };
  },
});

/** AWQ's layout without its search: groups of 128 where nothing is said. */
export const awqExport: ExportFormat = coded({
  name: 'awq',
  summary: 'AWQ GEMM (4 bits) as AutoAWQ, transformers and vLLM load it',
  variants: ['4g128', '4g64', '4g32'],
  accepts: (variant) => /^(?:w)?4g\d{1,6}$/.test(variant),
  coding: (variant) => {
    const size = Number(variant.split('g')[1]);
    return { format: awq, scheme: `w4g${size}`, everything: false, round: (weight) => roundAwq(weight, size) };
  },
});

/** MLX's affine codes: groups of 64 where nothing is said. */
export const mlxExport: ExportFormat = coded({
  name: 'mlx',
  summary: 'MLX affine codes as mlx-lm loads them, embedding and output projection too',
  variants: ['4', '2', '3', '5', '6', '8'],
  accepts: (variant) => AFFINE.test(variant),
  coding: (variant) => {
    const [, bits, group = '64'] = AFFINE.exec(variant)!;
    return {
      format: mlx,
      scheme: `mlx${bits}g${group}`,
      everything: true,
      round: (weight) => roundMlx(weight, Number(bits), Number(group)),
    };
  },
});

/** NF4 and FP4 in blocks of 64. */
export const bitsandbytesExport: ExportFormat = coded({
  name: 'bitsandbytes',
  summary: 'bitsandbytes 4-bit tables as transformers loads them; -double codes the maxima again',
  variants: ['nf4', 'nf4-double', 'fp4', 'fp4-double'],
  accepts: () => false,
  coding: (variant) => {
    const table = variant.slice(0, 3) as CodeTable;
    const format = bitsandbytes({ double: variant.endsWith('-double') });
    return { format, scheme: `${table}g64`, everything: false, round: (weight) => roundTable(weight, table, 64) };
  },
});

interface Coded extends Pick<ExportFormat, 'name' | 'summary' | 'variants'> {
  readonly accepts: (variant: string) => boolean;
  readonly coding: (variant: string) => Coding;
}

function coded({ coding, ...rest }: Coded): ExportFormat {
  return {
    ...rest,
    output: 'directory',
    readable: true,
    describe: (variant) => `${rest.name} ${variant}`,
    prepare: async (model, variant, request) => Promise.resolve(prepare(model, coding(variant), rest.name, request)),
  };
}

function prepare(model: OpenModel, coding: Coding, name: string, request: ExportRequest): PreparedExport {
  const { shardBytes = DEFAULT_SHARD_BYTES } = request;
  const { architecture, checkpoint } = model;
  const problems: PlanProblem[] = [...unusedOptions(name, request, ['calibration', 'importance'])];
  const head = `${architecture.head.path}.weight`;
  const omitted = model.embeddings === 'tied-duplicate' ? head : undefined;
  const linears = new Set(architecture.blocks.flatMap((block) => block.linears.map((linear) => linear.name)));
  if (coding.everything) for (const one of [architecture.embedding.name, head]) linears.add(one);
  const stored = storedWeightOf(architecture);
  const weights: WeightTensor[] = [];
  const said: { name: string; action: string; reason: string; before: number }[] = [];
  for (const [weightName, weight] of model.weights) {
    const before = weight.byteLength;
    const note = (action: string, reason: string) => said.push({ name: weightName, action, reason, before });
    if (weightName === omitted) {
      note('omit', 'left out: equal to the token embedding, to which the config ties it');
      continue;
    }
    if (!linears.has(weightName)) {
      weights.push(stored(weight.kind === 'dense' ? weight : restoredWeight(weight)));
      note(weight.kind === 'dense' ? 'keep' : 'restore', 'kept: not a linear layer of the blocks');
      continue;
    }
    try {
      const made = codedWeight(weight, coding);
      weights.push(made);
      const again = weight.kind === 'quantized' ? `already quantized (${schemeName(weight.scheme)}); ` : '';
      if (made === weight) note('quantize', `${again}its codes are kept`);
      else note('quantize', `${again}rounded as ${name} does it${again === '' ? '' : ', again'}`);
    } catch (error) {
      if (!isPithError(error) || error.kind !== 'input') throw error;
      problems.push({ code: error.code, name: weightName, message: error.message });
      note('keep', `cannot be quantized: ${error.message}`);
      weights.push(stored(weight));
    }
  }
  const byName = new Map(weights.map((weight) => [weight.name, weight]));
  const options: StoredWeightsOptions = storedOptions(architecture, byName, coding.format);
  const { layout, bytes, problems: unfit } = plannedLayout(weights.map(plannedWeight), options, shardBytes);
  problems.push(...unfit);
  const largest = Math.max(0, ...weights.map(({ shape }) => shape.reduce((a, b) => a * b, 1)));
  const source = checkpoint.quantization;
  const again =
    source === undefined ? [] : [`the source is quantized already (${[source.method, ...source.schemes].join(' ')})`];
  return {
    tensors: said.map(({ name: one, action, reason, before }): PlannedTensor => {
      return { name: one, action, reason, bytesBefore: before, bytesAfter: bytes.get(one) ?? 0 };
    }),
    bytesAfter: layout.totalBytes,
    dataBytes: layout.dataBytes,
    notices: [...storageDifferences(architecture, checkpoint.weights.keys()), ...again],
    problems,
    options: { shardBytes },
    peakMemoryBytes: 400e6 + 4 * largest,
    async write({ directory, signal, progress }) {
      const configText = setMembers(
        checkpoint.configText,
        model.embeddings === 'conflict' ? { tie_word_embeddings: false } : {},
      );
      const files = await carriedFiles(checkpoint);
      const content = { ...options, configText, weights, shardBytes, files };
      await saveCheckpoint(directory, content, { ...(signal && { signal }), ...(progress && { progress }) });
      return {};
    },
  };
}

/** The weight itself where it is coded as wanted, its rounded form otherwise. */
function codedWeight(weight: WeightTensor, { format, scheme, round }: Coding): QuantizedWeight {
  if (weight.kind === 'quantized') {
    const own = schemeName(weight.scheme);
    const affine = format === mlx && own.replace(/^w/, 'mlx').replace(/-asym$/, '') === scheme;
    const alike = own === scheme || affine || (format === awq && own === `${scheme}-asym`);
    if (alike && holds(format, weight)) return weight;
  }
  return round(weight.kind === 'dense' ? weight : restoredWeight(weight));
}

function holds(format: WeightFormat, weight: QuantizedWeight): boolean {
  try {
    format.tensors(weight, {});
    return true;
  } catch (error) {
    if (isPithError(error) && error.kind === 'input') return false;
    throw error;
  }
}

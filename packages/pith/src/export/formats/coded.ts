// Formats of quantized checkpoints, rounded to nearest as their own tools do it (`codings.ts`). Weights that are coded alike
// already keep their codes. Methods that look at a text write the same formats (`pith quantize --format`).
import { schemeName, type StoredWeightsOptions, type WeightFormat } from '@pith/checkpoint';
import { plannedWeight, storageDifferences, storedWeightOf } from '@pith/model';
import type { OpenModel } from '@pith/model/node';
import { isPithError, type QuantizedWeight, type WeightTensor } from '@pith/tensor-core';
import { DEFAULT_SHARD_BYTES } from '../../plan/quantize-config.ts';
import type { PlannedTensor, PlanProblem } from '../../plan/types.ts';
import { restoredWeight } from '../../source/restored-weight.ts';
import { plannedLayout, storedOptions } from '../../stages/layout.ts';
import { CODED_FORMATS, type CodedFormat, type Coding } from '../codings.ts';
import type { ExportFormat, ExportRequest, PreparedExport } from '../format.ts';
import { unusedOptions } from '../unused-options.ts';
import { saveExport } from './save-export.ts';

/** The formats of `CODED_FORMATS` as exports. */
export const codedExports: readonly ExportFormat[] = CODED_FORMATS.map(codedExport);

function codedExport({ name, summary, variants, accepts, coding }: CodedFormat): ExportFormat {
  return {
    ...{ name, summary, variants, accepts },
    output: 'directory',
    readable: true,
    describe: (variant) => `${name} ${variant}`,
    prepare: async (model, variant, request) => Promise.resolve(prepare(model, coding(variant), name, request)),
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
    async write(context) {
      await saveExport(model, context, { weights, options, shardBytes });
      return {};
    },
  };
}

/** The weight itself where it is coded as wanted, its rounded form otherwise. */
function codedWeight(weight: WeightTensor, { format, holds: alike, round }: Coding): QuantizedWeight {
  if (weight.kind === 'quantized' && alike(weight.scheme) && holds(format, weight)) return weight;
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

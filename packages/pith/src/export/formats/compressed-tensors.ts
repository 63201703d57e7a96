// compressed-tensors from what is compressed already: codes of GPTQ, AWQ and of compressed-tensors itself are stored anew, not
// rounded again, with their zero points and the order of their columns; sparse and factored weights lie as they did. Rounding is
// left to `pith quantize`, which writes this format by default.
import {
  compressedTensors,
  planOutput,
  schemeName,
  storedDenseWeight,
  storedMembers,
  storedTensors,
  type OutputTensor,
  type StoredTensor,
} from '@pith/checkpoint';
import { storageDifferences, storedWeightOf } from '@pith/model';
import type { OpenModel } from '@pith/model/node';
import { isPithError, PithError, throwIfStopped, type RunOptions, type WeightTensor } from '@pith/tensor-core';
import { DEFAULT_SHARD_BYTES } from '../../plan/quantize-config.ts';
import { runtimeNotices } from '../../plan/runtime-notices.ts';
import type { PlannedTensor, PlanProblem } from '../../plan/types.ts';
import { storedBytesOf, storedOptions } from '../../stages/layout.ts';
import type { ExportFormat, ExportRequest, PreparedExport } from '../format.ts';
import { unusedOptions } from '../unused-options.ts';
import { saveExport } from './save-export.ts';

/** A block of codes and what it is packed into, and the files at hand. */
const WORKING_BYTES = 400e6;

/** The format `compressed-tensors`. */
export const compressedTensorsExport: ExportFormat = {
  name: 'compressed-tensors',
  summary: 'what vLLM and transformers load; codes of GPTQ and AWQ are kept, nothing is rounded',
  variants: [],
  output: 'directory',
  readable: true,
  describe: () => 'compressed-tensors, with the codes that weights have',
  prepare: async (model, _variant, request) => Promise.resolve(prepare(model, request)),
};

function prepare(model: OpenModel, request: ExportRequest): PreparedExport {
  const { shardBytes = DEFAULT_SHARD_BYTES } = request;
  const { architecture, checkpoint } = model;
  const problems: PlanProblem[] = [...unusedOptions('compressed-tensors', request, ['calibration', 'importance'])];
  const omitted = model.embeddings === 'tied-duplicate' ? `${architecture.head.path}.weight` : undefined;
  const stored = storedWeightOf(architecture);
  const { kvCache } = checkpoint.quantization ?? {};
  const scales = (kvCache?.scales ?? []).map((name) => storedDenseWeight(checkpoint.tensors.get(name) as StoredTensor));
  const own = [...model.weights.values()].filter(({ name }) => name !== omitted).map(stored);
  const weights = [...own, ...scales];
  const options = {
    ...storedOptions(architecture, new Map(own.map((one) => [one.name, one])), compressedTensors),
    ...(kvCache && { kvCache }),
  };
  const bytes = new Map<string, number>();
  const refused = new Map<string, string>();
  const outputs: OutputTensor[] = [];
  for (const weight of weights) {
    const failure = inputError(() => {
      outputs.push(...storedTensors(weight, options));
      bytes.set(weight.name, storedBytesOf(weight, options));
    });
    if (failure === undefined) continue;
    refused.set(weight.name, failure.message);
    problems.push({ ...failure, name: weight.name });
  }
  if (refused.size === 0) {
    const failure = inputError(() => void storedMembers(weights, options));
    if (failure) problems.push({ ...failure, name: 'format' });
    if (!kvCache && !weights.some(({ kind }) => kind !== 'dense')) problems.push(nothingCoded);
  }
  const layout = planOutput(outputs, { shardBytes });
  const largest = Math.max(0, ...weights.map(({ shape }) => shape.reduce((a, b) => a * b, 1)));
  const tensors = [...model.weights].map(([name, weight]): PlannedTensor => {
    const before = { name, bytesBefore: weight.byteLength };
    if (name === omitted) {
      const reason = 'left out: equal to the token embedding, to which the config ties it';
      return { ...before, action: 'omit', reason, bytesAfter: 0 };
    }
    const why = refused.get(name);
    const reason = why === undefined ? reasonOf(weight) : `cannot be stored: ${why}`;
    const coded = weight.kind === 'quantized' && why === undefined;
    return { ...before, action: coded ? 'quantize' : 'keep', reason, bytesAfter: bytes.get(name) ?? 0 };
  });
  for (const { name, byteLength } of scales) {
    const reason = 'kept: scale of the keys or values that a runtime keeps';
    tensors.push({ name, action: 'keep', reason, bytesBefore: byteLength, bytesAfter: byteLength });
  }
  return {
    tensors,
    bytesAfter: layout.totalBytes,
    dataBytes: layout.dataBytes,
    notices: [
      ...storageDifferences(architecture, checkpoint.weights.keys()),
      ...runtimeNotices('compressed-tensors', model.config.modelType),
    ],
    problems,
    options: { shardBytes },
    peakMemoryBytes: WORKING_BYTES + 4 * largest,
    async write(context) {
      if (checkpoint.quantization?.method === 'gptq') await requireZeroPoints(weights, context.signal);
      await saveExport(model, context, { weights, options, shardBytes });
      return {};
    },
  };
}

/** Not an error of any weight. */
const nothingCoded: PlanProblem = {
  code: 'NOTHING_COMPRESSED',
  name: 'format',
  message:
    'export: compressed-tensors holds codes that weights have already, all weights of this model are dense; quantize it, ' +
    'which writes this format (pith quantize), or prune it',
};

function reasonOf(weight: WeightTensor): string {
  if (weight.kind !== 'quantized') return `kept: ${weight.kind}`;
  return `already quantized (${schemeName(weight.scheme)}); its codes are kept`;
}

/**
 * Zero points that are no codes, which GPTQ alone has, are values: no plan sees them. All weights that have one are named
 * before anything is written.
 */
async function requireZeroPoints(weights: readonly WeightTensor[], signal: RunOptions['signal']): Promise<void> {
  const wrong: string[] = [];
  for (const weight of weights) {
    throwIfStopped(signal, 'export');
    if (weight.kind !== 'quantized' || weight.scheme.kind !== 'int' || weight.scheme.symmetric) continue;
    const { zeroPoints } = await weight.block();
    const half = 2 ** (weight.scheme.bits - 1);
    if (zeroPoints?.some((zero) => zero >= half) === true) wrong.push(weight.name);
  }
  if (wrong.length === 0) return;
  throw new PithError(
    'CT_ZERO_UNSUPPORTED',
    `export: compressed-tensors packs zero points that are codes, these weights have one above the largest code: ` +
      `${wrong.slice(0, 20).join(', ')}${wrong.length > 20 ? `, and ${wrong.length - 20} more` : ''}; restore the model ` +
      '(pith export --format safetensors) and quantize it again',
    { details: { tensors: wrong } },
  );
}

/** What a check refuses; errors of other kinds are thrown on. */
function inputError(check: () => void): Pick<PlanProblem, 'code' | 'message'> | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (!isPithError(error) || error.kind !== 'input') throw error;
    return { code: error.code, message: error.message };
  }
}

// A Hugging Face directory of dense weights: what was quantized, sparse or factored is restored.
import { planOutput, QUANTIZATION_KEYS, setMembers, type OutputLayout } from '@pith/checkpoint';
import { saveCheckpoint } from '@pith/checkpoint/node';
import { storageDifferences, storedWeightOf } from '@pith/model';
import type { OpenModel } from '@pith/model/node';
import type { DenseWeight } from '@pith/tensor-core';
import { DEFAULT_SHARD_BYTES } from '../../plan/quantize-config.ts';
import type { PlannedTensor } from '../../plan/types.ts';
import { carriedFiles } from '../../source/carried-files.ts';
import { dtypeOf, restoredWeight, type RestoredDType } from '../../source/restored-weight.ts';
import type { ExportFormat, ExportRequest, PreparedExport } from '../format.ts';
import { unusedOptions } from '../unused-options.ts';

const DTYPES: Readonly<Record<string, RestoredDType>> = { bf16: 'bf16', f16: 'f16', f32: 'f32' };
/** What config.json calls them. */
const TORCH_DTYPES: Readonly<Record<RestoredDType, string>> = { bf16: 'bfloat16', f16: 'float16', f32: 'float32' };
/** A chunk of a weight in f32 and as it is stored, for the estimate of the memory. */
const WORKING_BYTES = 400e6;

/** The format `safetensors`. */
export const safetensors: ExportFormat = {
  name: 'safetensors',
  summary: 'dense weights as a Hugging Face directory; compressed ones are restored',
  variants: ['dense', 'bf16', 'f16', 'f32'],
  output: 'directory',
  readable: true,
  describe: (variant) => (variant === 'dense' ? 'dense, in the dtypes that the weights have' : `dense ${variant}`),
  prepare: async (model, variant, request) => prepare(model, DTYPES[variant], request),
};

async function prepare(
  model: OpenModel,
  dtype: RestoredDType | undefined,
  request: ExportRequest,
): Promise<PreparedExport> {
  const { shardBytes = DEFAULT_SHARD_BYTES } = request;
  const duplicate = model.embeddings === 'tied-duplicate' ? `${model.architecture.head.path}.weight` : undefined;
  const stored = storedWeightOf(model.architecture);
  const weights: DenseWeight[] = [];
  const tensors: PlannedTensor[] = [];
  for (const [name, weight] of model.weights) {
    const bytesBefore = weight.byteLength;
    if (name === duplicate) {
      const reason = 'left out: equal to the token embedding, to which the config ties it';
      tensors.push({ name, action: 'omit', reason, bytesBefore, bytesAfter: 0 });
      continue;
    }
    const made =
      weight.kind === 'dense' && dtype === undefined ? weight : restoredWeight(weight, dtype ?? dtypeOf(weight));
    weights.push(stored(made) as DenseWeight);
    const action = weight.kind === 'dense' ? (made === weight ? 'keep' : 'convert') : 'restore';
    const reason = made === weight ? 'kept: dense' : `${weight.kind} to ${made.dtype}`;
    tensors.push({ name, action, reason, bytesBefore, bytesAfter: made.byteLength });
  }
  const layout: OutputLayout = planOutput(
    weights.map(({ name, dtype: stored, shape }) => ({ name, dtype: stored as RestoredDType, shape })),
    { shardBytes },
  );
  return {
    tensors,
    bytesAfter: layout.totalBytes,
    dataBytes: layout.dataBytes,
    notices: storageDifferences(model.architecture, model.checkpoint.weights.keys()),
    problems: unusedOptions('safetensors', request, ['calibration', 'importance']),
    options: { shardBytes },
    peakMemoryBytes: WORKING_BYTES,
    async write({ directory, signal, progress }) {
      const config = configText(model, dtype);
      const files = await carriedFiles(model.checkpoint);
      const content = { configText: config, weights, shardBytes, files };
      await saveCheckpoint(directory, content, { ...(signal && { signal }), ...(progress && { progress }) });
      return {};
    },
  };
}

function configText({ checkpoint, embeddings }: OpenModel, dtype: RestoredDType | undefined): string {
  const { config, configText: text } = checkpoint;
  const key = 'dtype' in config ? 'dtype' : 'torch_dtype';
  return setMembers(text, {
    ...Object.fromEntries(QUANTIZATION_KEYS.map((name) => [name, undefined])),
    ...(dtype !== undefined && { [key]: TORCH_DTYPES[dtype] }),
    ...(embeddings === 'conflict' && { tie_word_embeddings: false }),
  });
}

// What a checkpoint or an ONNX model holds, from headers alone.
import { throwIfStopped, type RunOptions } from '@pith/tensor-core';
import { openPlace, placeOfHeaders } from '../source/locate-model.ts';
import { describeModel, type InspectedModel } from './describe-model.ts';
import { inspectOnnx, isOnnxPlace, type InspectedOnnx } from './inspect-onnx.ts';

/** A stored tensor. */
export interface InspectedTensor {
  /** Name in the file. */
  readonly name: string;
  /** Dtype as it is stored, or the type of its blocks: `bf16`, `q4_k`; of an ONNX model the element type: `u8`. */
  readonly dtype: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** Stored bytes. */
  readonly bytes: number;
  /** File that it lies in. */
  readonly file: string;
}

/** A file of a checkpoint. */
export interface InspectedFile {
  /** Name, without a directory. */
  readonly name: string;
  /** Size. */
  readonly bytes: number;
  /** What it is for: `weights`, `config`, `tokenizer`, ... */
  readonly role: string;
}

/** What a checkpoint holds. */
export interface Inspection {
  /** `model_type` of config.json; `unknown` where it names none. */
  readonly architecture: string;
  /** True where Pith has a table and a program for the architecture. */
  readonly supported: boolean;
  /** Values of all weights in their dense form; scales and zero points are not counted. */
  readonly parameters: number;
  /** Bytes of all files of tensors, headers included. */
  readonly bytes: number;
  /** Stored tensors in the order of files and offsets. */
  readonly tensors: readonly InspectedTensor[];
  /** Bytes of tensors by dtype, the largest first. */
  readonly dtypes: Readonly<Record<string, number>>;
  /** Null where the architecture is not supported. */
  readonly model: InspectedModel | null;
  /** How the weights are quantized, in words; null for dense weights. */
  readonly quantization: string | null;
  /** Every file of the directory. */
  readonly files: readonly InspectedFile[];
  /** The ONNX models, where that is what was named. */
  readonly onnx?: readonly InspectedOnnx[];
}

/**
 * Reads the headers of a checkpoint, or an ONNX model.
 *
 * @param model directory of config.json and safetensors files, a GGUF file, an ONNX file or a directory of such, or a hub id, of which
 * the headers alone are fetched.
 * @throws PithError when the checkpoint is damaged or there is none.
 */
export async function inspect(model: string, options: RunOptions = {}): Promise<Inspection> {
  throwIfStopped(options.signal, 'inspect');
  if (await isOnnxPlace(model)) return inspectOnnx(model, options);
  const checkpoint = await openPlace(await placeOfHeaders(model, options));
  try {
    const { config, quantization } = checkpoint;
    const tensors = [...checkpoint.tensors.values()].map(({ name, dtype, shape, byteLength, file }) => ({
      name,
      dtype,
      shape,
      bytes: byteLength,
      file,
    }));
    const dense = quantization?.problem === undefined ? checkpoint.weights : undefined;
    const counted = new Set(dense?.keys());
    // Weights whose dtype cannot be converted, or that cannot be restored, count as they are stored.
    const stored =
      dense === undefined
        ? tensors
        : quantization === undefined
          ? tensors.filter(({ name }) => !counted.has(name))
          : [];
    const shapes = [...[...(dense?.values() ?? [])].map(({ shape }) => shape), ...stored.map(({ shape }) => shape)];
    const described = await describeModel(config);
    const architecture = typeof config['model_type'] === 'string' ? config['model_type'] : 'unknown';
    return {
      architecture,
      supported: described !== null,
      parameters: shapes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0),
      bytes: checkpoint.weightFileBytes,
      tensors,
      dtypes: bytesByDType(tensors),
      model: described,
      quantization:
        quantization === undefined
          ? null
          : quantization.method +
            (quantization.schemes.length === 0 ? '' : ` ${quantization.schemes.join(', ')}`) +
            (quantization.kvCache === undefined
              ? ''
              : ` (keys and values ${quantization.kvCache.dtype}, ${quantization.kvCache.scales.length} scales)`) +
            (quantization.problem === undefined ? '' : ` (not readable: ${quantization.problem.message})`),
      files: checkpoint.files.map(({ name, byteLength, role }) => ({ name, bytes: byteLength, role })),
    };
  } finally {
    await checkpoint.store.close();
  }
}

function bytesByDType(tensors: readonly InspectedTensor[]): Record<string, number> {
  const sums = new Map<string, number>();
  for (const { dtype, bytes } of tensors) sums.set(dtype, (sums.get(dtype) ?? 0) + bytes);
  return Object.fromEntries([...sums].sort(([, a], [, b]) => b - a));
}

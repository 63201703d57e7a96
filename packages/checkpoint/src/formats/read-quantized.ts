// Which reader a quantized checkpoint needs, by what its config.json says. A format is added with a line in the table.
import { isPithError, PithError, type WeightTensor } from '@pith/tensor-core';
import { readBitsandbytesWeights } from '../bitsandbytes/read-weights.ts';
import { keyValueScales, type KeyValueCache } from '../compressed-tensors/kv-cache-scheme.ts';
import { readQuantizationConfig } from '../compressed-tensors/quantization-config.ts';
import { readCompressedWeights } from '../compressed-tensors/read-weights.ts';
import { readAwqWeights } from '../awq/read-weights.ts';
import { readFp8Weights } from '../fp8/read-weights.ts';
import { readGptqWeights } from '../gptq/read-weights.ts';
import { readHqqWeights } from '../hqq/read-weights.ts';
import type { JsonObject, JsonValue } from '../json/parse-json.ts';
import { readMlxWeights } from '../mlx/read-weights.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';

/** A quantized checkpoint before its weights are put together. */
export interface QuantizedSource {
  /** What config.json says of the quantization. */
  readonly quantization: JsonValue;
  /** All of config.json. */
  readonly config: JsonObject;
  /** Stored tensors by name. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** The file that the quantization was read from, for messages. */
  readonly file: string;
}

/**
 * Puts the weights of a checkpoint together, by the names of their dense forms; reads no codes.
 *
 * @throws PithError that says what of the configuration or of the tensors is not as the format has it.
 */
export type ReadQuantized = (source: QuantizedSource) => Promise<Map<string, WeightTensor>>;

/** What a reader finds. */
type Found = Pick<QuantizedCheckpoint, 'weights' | 'kvCache'>;

const READERS: Readonly<Record<string, (source: QuantizedSource) => Promise<Found>>> = Object.freeze({
  'compressed-tensors': readCompressed,
  gptq: weightsAlone(readGptqWeights),
  awq: weightsAlone(readAwqWeights),
  mlx: weightsAlone(readMlxWeights),
  bitsandbytes: weightsAlone(readBitsandbytesWeights),
  hqq: weightsAlone(readHqqWeights),
  fp8: weightsAlone(readFp8Weights),
});

async function readCompressed({ quantization, tensors, file }: QuantizedSource): Promise<Found> {
  const config = readQuantizationConfig(quantization, file);
  const weights = await readCompressedWeights(tensors, config);
  const { kvCache } = config;
  return { weights, ...(kvCache && { kvCache: { ...kvCache, scales: keyValueScales(tensors, kvCache) } }) };
}

function weightsAlone(read: ReadQuantized): (source: QuantizedSource) => Promise<Found> {
  return async (source) => ({ weights: await read(source) });
}

/** What came of reading a quantized checkpoint. */
export interface QuantizedCheckpoint {
  /** `gptq`. */
  readonly method: string;
  /** Empty where there is a problem. */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** Why the weights cannot be restored. */
  readonly problem?: PithError;
  /** How a runtime codes the keys and values that it keeps; absent: not at all. */
  readonly kvCache?: KeyValueCache;
}

/**
 * Reads the weights of a checkpoint whose config.json says that they are quantized; undefined where it does not. Tensors of
 * a checkpoint that cannot be read can still be listed and carried over: the problem is told when weights are asked for.
 */
export async function readQuantized(
  config: JsonObject,
  tensors: ReadonlyMap<string, StoredTensor>,
  file: string,
): Promise<QuantizedCheckpoint | undefined> {
  const quantization = config['quantization_config'] ?? config['compression_config'] ?? config['quantization'];
  if (quantization === undefined || quantization === null) return undefined;
  const method = methodOf(quantization);
  try {
    const name = method === 'unknown' ? 'compressed-tensors' : method;
    // Names are a stranger's: `constructor` is no reader.
    const read = Object.hasOwn(READERS, name) ? READERS[name] : undefined;
    if (read === undefined) throw unsupported(method, file);
    return { method, ...(await read({ quantization, config, tensors, file })) };
  } catch (error) {
    if (!isPithError(error) || error.kind !== 'input') throw error;
    return { method, weights: new Map(), problem: error };
  }
}

function methodOf(quantization: JsonValue): string {
  const named =
    typeof quantization === 'object' && quantization !== null && 'quant_method' in quantization
      ? quantization['quant_method']
      : undefined;
  if (typeof named === 'string') return named.slice(0, 80);
  // mlx-lm names no method: it writes bits and group_size, and what modules have of their own.
  const members = typeof quantization === 'object' && quantization !== null ? quantization : {};
  return 'bits' in members && 'group_size' in members ? 'mlx' : 'unknown';
}

function unsupported(method: string, file: string): PithError {
  return new PithError(
    'QUANTIZATION_METHOD_UNSUPPORTED',
    `read quantization_config: ${file} has weights quantized by ${JSON.stringify(method)}; ` +
      `${Object.keys(READERS).join(', ')} are read; start from the unquantized checkpoint`,
    { details: { file, method } },
  );
}

// What the readers of module formats share: a quantized linear is several tensors under the path of its module.
import { PithError, type ScaleDType, type WeightTensor } from '@pith/tensor-core';
import type { z } from 'zod';
import type { JsonValue } from '../json/parse-json.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { isConvertible, type StoredDType } from '../safetensors/stored-dtype.ts';
import { storedDenseWeight } from '../weights/stored-dense-weight.ts';

/** A weight that is put together from stored tensors. */
export interface ModuleWeight {
  /** The weight. */
  readonly weight: WeightTensor;
  /** The tensors that it is made of; the first has its place in the order of the file. */
  readonly names: readonly string[];
}

/** All weights of a checkpoint in the order of the file: put together where modules say so, dense otherwise. */
export function gatherWeights(
  tensors: ReadonlyMap<string, StoredTensor>,
  modules: readonly ModuleWeight[],
): Map<string, WeightTensor> {
  const first = new Map(modules.map(({ weight, names }) => [names[0]!, weight]));
  const taken = new Set(modules.flatMap(({ names }) => names));
  const weights = new Map<string, WeightTensor>();
  for (const [name, tensor] of tensors) {
    const whole = first.get(name);
    if (whole) weights.set(whole.name, whole);
    else if (!taken.has(name) && isConvertible(tensor.dtype)) weights.set(name, storedDenseWeight(tensor));
  }
  return weights;
}

/** Errors of one format: their code begins with its name, their message with what is read. */
export class FormatFaults {
  readonly #prefix: string;
  readonly #format: string;

  /** @param prefix Of the codes: `GPTQ`. @param format In messages: `gptq`. */
  constructor(prefix: string, format: string) {
    this.#prefix = prefix;
    this.#format = format;
  }

  /** Tensors of a module that do not fit one another or the configuration. */
  tensors(module: string, file: string, why: string): PithError {
    return new PithError(
      `${this.#prefix}_TENSORS_INVALID`,
      `read ${this.#format}: the tensors of ${JSON.stringify(module)} in ${file} must fit one another and config.json, ` +
        `${why}; get the checkpoint again`,
      { details: { module, file, why } },
    );
  }

  /** A tensor of a module that is not there. */
  missing(name: string, part: string): PithError {
    return new PithError(
      `${this.#prefix}_TENSOR_MISSING`,
      `read ${this.#format}: tensor ${JSON.stringify(name)} must have ${JSON.stringify(part)} beside it, it has not; get ` +
        'the checkpoint again',
      { details: { tensor: name, missing: part } },
    );
  }

  /** Something of the format that is not read. */
  unsupported(what: string, file: string, instead: string): PithError {
    return new PithError(
      `${this.#prefix}_UNSUPPORTED`,
      `read ${this.#format}: ${file} has ${what.slice(0, 200)}, which is not read; ${instead}`,
      { details: { file, what: what.slice(0, 200) } },
    );
  }

  /** A configuration by its schema. @throws PithError `<PREFIX>_CONFIG_INVALID` with every offending member. */
  config<T extends z.ZodType>(schema: T, value: JsonValue, file: string): z.infer<T> {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const problems = parsed.error.issues.slice(0, 10).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new PithError(
      `${this.#prefix}_CONFIG_INVALID`,
      `read ${this.#format}: ${file} must hold a configuration of the format: ${problems.join('; ')}; get the file again`,
      { details: { file, problems } },
    );
  }

  /**
   * Values of a tensor as they are, when all of them are numbers.
   *
   * @param values consecutive values of the tensor, from its value number `first` on.
   * @throws PithError `<PREFIX>_TENSORS_INVALID` for a NaN or an infinity, with its place.
   */
  requireFinite(
    values: Float32Array,
    module: string,
    { name, shape, file }: Pick<StoredTensor, 'name' | 'shape' | 'file'>,
    first = 0,
  ): Float32Array {
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong < 0) return values;
    const place: number[] = [];
    let rest = first + wrong;
    for (const length of [...shape].reverse()) {
      place.unshift(rest % length);
      rest = Math.floor(rest / length);
    }
    throw this.tensors(module, file, `${name.slice(module.length + 1)} is ${values[wrong]} at [${place.join(', ')}]`);
  }

  /** Refuses a tensor of another dtype or rank. */
  requireMatrix(tensor: StoredTensor, module: string, dtypes: readonly StoredDType[]): readonly [number, number] {
    const { name, dtype, shape, file } = tensor;
    const part = name.slice(module.length + 1);
    if (!dtypes.includes(dtype)) throw this.tensors(module, file, `${part} is ${dtype}, not ${dtypes.join(' or ')}`);
    const [rows = 0, columns = 0] = shape;
    if (shape.length === 2 && rows > 0 && columns > 0) return [rows, columns];
    throw this.tensors(module, file, `${part} must be a matrix, it is [${shape.join(', ')}]`);
  }
}

/** Dtypes that scales may be stored in. */
export const SCALE_DTYPES: readonly ScaleDType[] = ['f16', 'bf16', 'f32'];

// The tensors of an exported model as its nodes ask for them: what is not asked for is not stored. Headers alone; bytes are made
// when the model is written.
import { PithError } from '@pith/tensor-core';
import type { ActivationQuantization, OnnxModelBuilder, QuantizedWeight, WeightTensor } from '@pith/tensor-core';
import type { LinearSpec } from '../architecture/architecture.ts';
import type { LanguageModel } from '../language-model.ts';
import { activationsOf } from '../run/linear-form.ts';
import { chooseStorage, columnOrder, fittingBlock } from './matrix-storage.ts';
import type { ChosenStorage, MatrixStorage, OnnxRound, StorageRequest } from './matrix-storage.ts';
import { storeBlocks, storeChannels, storeRows, storeTransposed } from './store-matrix.ts';
import type { CodeSource, StoredGroup } from './store-matrix.ts';
import { isUnsigned, writeProduct } from './write-linear.ts';
import type { WrittenMatrix } from './write-linear.ts';

/** How `buildOnnx` stores a model. */
export interface OnnxOptions extends StorageRequest {
  /** Rounds weights whose codes cannot stay as they are; needed for `int8`, `q8` and `q4`. */
  readonly round?: OnnxRound;
  /** Stores the token embedding and the head as values; blocks of 8-bit codes for `int8`, `q8` and `q4` when left out. */
  readonly table?: 'f32' | 'f16';
  /** How inputs of layers with rows of 8-bit codes are rounded, by checkpoint name of the weight; as the weight says when left out. */
  readonly inputs?: StaticInputs;
  /** Accuracy level of MatMulNBits: 0, as the runtime likes, when left out; 1 f32; 4 inputs rounded to 8 bits. */
  readonly accuracyLevel?: number;
}

/** Roundings of inputs from calibration, by checkpoint name of the weight. */
export type StaticInputs = ReadonlyMap<string, ActivationQuantization>;

/** What becomes of one weight. */
export interface OnnxStoredWeight {
  /** Checkpoint name; of a factor its own. */
  readonly name: string;
  /** Representation that it has in the model. */
  readonly source: WeightTensor['kind'];
  /** How it is stored. */
  readonly storage: MatrixStorage;
  /** True where its codes are stored as they are. */
  readonly keepsCodes: boolean;
  /** Tensors that hold it. */
  readonly group: StoredGroup;
}

/** The tensors of a model, each written where it is first asked for. */
export class ModelTensors {
  readonly weights: OnnxStoredWeight[] = [];
  readonly #model: LanguageModel;
  readonly #builder: OnnxModelBuilder;
  readonly #options: OnnxOptions;
  readonly #plain = new Set<string>();
  readonly #matrices = new Map<string, WrittenMatrix>();

  constructor(model: LanguageModel, builder: OnnxModelBuilder, options: OnnxOptions) {
    this.#model = model;
    this.#builder = builder;
    this.#options = options;
  }

  /** A tensor that nodes read as it is, f32. */
  plain(name: string): string {
    if (this.#plain.has(name)) return name;
    this.#plain.add(name);
    const weight = this.#weight(name);
    this.#declare(weight, { kind: 'float', dtype: 'f32' }, false, storeRows(name, weight, 'f32'));
    return name;
  }

  /** A linear layer. */
  linear(spec: LinearSpec, x: string): string {
    const weight = this.#weight(spec.name);
    let product: string;
    if (spec.tied) product = writeProduct(this.#builder, x, this.table());
    else if (weight.kind === 'factored') {
      const [right, left] = (['right', 'left'] as const).map((side) =>
        this.#matrix(`${spec.path}.${side}`, weight[side], spec),
      );
      product = writeProduct(this.#builder, writeProduct(this.#builder, x, right), left);
    } else product = writeProduct(this.#builder, x, this.#matrix(spec.path, weight, spec));
    if (spec.biasName === null) return product;
    return this.#builder.op('Add', [product, this.plain(spec.biasName)], { path: spec.path });
  }

  /** The token embedding, which may be the head as well. */
  table(): WrittenMatrix {
    const { embedding } = this.#model.architecture;
    const known = this.#matrices.get(embedding.name);
    if (known) return known;
    const weight = this.#weight(embedding.name);
    const { weights, dtype, table = weights } = this.#options;
    const shape = [embedding.rows, embedding.columns] as const;
    const storage: MatrixStorage =
      table === 'f32' || table === 'f16'
        ? { kind: 'float', dtype: table }
        : { kind: 'blocks', bits: 8, blockSize: fittingBlock(embedding.columns), symmetric: true, scaleDType: dtype };
    const matrix = { ...this.#written(embedding.name, shape, storage), isTable: true };
    const group =
      storage.kind === 'float'
        ? storeRows(embedding.name, weight, storage.dtype)
        : storeBlocks(embedding.name, weight.name, shape, storage, this.#rounded(weight, storage, shape));
    this.#matrices.set(embedding.name, matrix);
    this.#declare(weight, storage, false, group);
    return matrix;
  }

  #matrix(path: string, weight: WeightTensor, spec: LinearSpec): WrittenMatrix {
    const name = `${path}.MatMul.weight`;
    const shape = [weight.shape[0], weight.shape[1]] as const;
    const { storage, keepsCodes } = this.#choose(weight, spec, shape);
    const order = keepsCodes && storage.kind === 'blocks' ? columnOrder(weight as QuantizedWeight) : undefined;
    const load = keepsCodes ? () => Promise.resolve(weight as QuantizedWeight) : this.#rounded(weight, storage, shape);
    const group =
      storage.kind === 'float'
        ? storeTransposed(name, weight, storage.dtype)
        : storage.kind === 'blocks'
          ? storeBlocks(name, weight.name, shape, storage, load)
          : storeChannels(
              name,
              weight.name,
              shape,
              { symmetric: storage.symmetric, unsigned: isUnsigned(storage) },
              load,
            );
    this.#declare(weight, storage, keepsCodes, group);
    return { ...this.#written(name, shape, storage), ...(order && { order }) };
  }

  #choose(weight: WeightTensor, spec: LinearSpec, [, columns]: readonly [number, number]): ChosenStorage {
    const chosen = chooseStorage(weight, this.#options);
    const { storage, keepsCodes } = chosen;
    const { table } = this.#options;
    if (spec.role === 'head' && table && !keepsCodes) return { ...chosen, storage: { kind: 'float', dtype: table } };
    // Like the embedding, the head has 8 bits: it is what 4 bits hurt most.
    if (spec.role === 'head' && !keepsCodes && storage.kind === 'blocks') {
      return { ...chosen, storage: { ...storage, bits: 8, blockSize: fittingBlock(columns), symmetric: true } };
    }
    // What is rounded anew is still multiplied with inputs as the weight says.
    const inputs = this.#options.inputs?.get(spec.name) ?? activationsOf(weight);
    if (storage.kind === 'channels' && inputs) return { ...chosen, storage: { ...storage, activations: inputs } };
    return chosen;
  }

  #written(name: string, shape: readonly [number, number], storage: MatrixStorage): WrittenMatrix {
    return { name, shape, storage, isTable: false, accuracyLevel: this.#options.accuracyLevel ?? 0 };
  }

  #rounded(weight: WeightTensor, storage: MatrixStorage, [, columns]: readonly [number, number]): CodeSource {
    const { round } = this.#options;
    if (storage.kind === 'float') return () => Promise.reject(new TypeError('values have no codes'));
    const { symmetric } = storage;
    const groupSize = storage.kind === 'blocks' ? storage.blockSize : null;
    const bits = storage.kind === 'blocks' ? storage.bits : 8;
    const scaleDType = storage.kind === 'blocks' ? storage.scaleDType : 'f32';
    const width = groupSize === null ? columns : Math.ceil(columns / groupSize) * groupSize;
    return () => {
      if (round) return round(weight, { bits, groupSize, symmetric, scaleDType, columns: width });
      throw new PithError(
        'ONNX_ROUNDING',
        `export ${weight.name}: it has no codes of ${bits} bits that could be kept; pass \`round\`, or quantize the model first`,
        { details: { tensor: weight.name, bits } },
      );
    };
  }

  #declare(weight: WeightTensor, storage: MatrixStorage, keepsCodes: boolean, group: StoredGroup): void {
    for (const { name, dtype, dims } of group.tensors) this.#builder.stored(name, dtype, dims);
    this.weights.push({ name: weight.name, source: weight.kind, storage, keepsCodes, group });
  }

  #weight(name: string): WeightTensor {
    return this.#model.weights.get(name)!;
  }
}

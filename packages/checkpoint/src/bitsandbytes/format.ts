// bitsandbytes' 4-bit weights as a format, named and stored as transformers does (`save_pretrained`):
//
// | tensor                                | dtype      | shape                  |
// | ------------------------------------- | ---------- | ---------------------- |
// | `weight`                              | u8         | [values / 2, 1]        |
// | `weight.absmax`                       | f32, or u8 | [blocks]               |
// | `weight.quant_map`                    | f32        | [16]                   |
// | `weight.nested_absmax` (double)       | f32        | [ceil(blocks / 256)]   |
// | `weight.nested_quant_map` (double)    | f32        | [256]                  |
// | `weight.quant_state.bitsandbytes__nf4`| u8         | JSON                   |
//
// Double quantization codes the absolute maxima again: less their mean, in blocks of 256, by a table of 256 values.
//
// Source: golden/bitsandbytes and bitsandbytes 0.50.
import { codeTable, PithError, type QuantizedWeight, type TableScheme } from '@pith/tensor-core';
import type { StoredChunk } from '../compressed-tensors/encode-block.ts';
import type { FormatConfig, FormatContext, FormatTensor, StoredShape, WeightFormat } from '../formats/weight-format.ts';
import { mixedWeights, requireModule, storedTensor } from '../formats/write-modules.ts';
import { DYNAMIC_MAP, dynamicCode } from './dynamic-map.ts';
import { quantStateBytes, STATE_SUFFIX, TORCH_DTYPES } from './quant-state.ts';

/** Maxima that share one of the second kind. */
const NESTED_BLOCK = 256;
/** Digits of an offset in the longest spelling of an f32. */
const STATE_BYTES = 256;
/** Codes of a chunk. */
const BLOCK_CODES = 4 * 1024 * 1024;

/** How {@link bitsandbytes} stores. */
export interface BitsandbytesOptions {
  /** Values that share an absolute maximum; 64 when left out. */
  readonly blockSize?: number;
  /** Codes absolute maxima again; false when left out. */
  readonly double?: boolean;
}

/** Weights as bitsandbytes stores them. */
export function bitsandbytes({ blockSize = 64, double = false }: BitsandbytesOptions = {}): WeightFormat {
  return Object.freeze<WeightFormat>({
    name: 'bitsandbytes',
    tensors: (weight, context) => tensors(layoutOf(weight, context, blockSize), double),
    chunks: (weight, context) => chunks(weight, layoutOf(weight, context, blockSize), double),
    config: (weights, context) => config(weights, context, double),
  });
}

interface Layout {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly blocks: number;
  readonly blockSize: number;
  readonly scheme: TableScheme;
}

function layoutOf(weight: StoredShape, { activations }: FormatContext, blockSize: number): Layout {
  const { name, shape, scheme } = weight;
  const fail = (what: string, why: string) =>
    new PithError(`BNB_${what}_UNSUPPORTED`, `store "${name}" as bitsandbytes: ${why}`, {
      details: { tensor: name, shape, scheme },
    });
  const { rows, columns } = requireModule(weight, fail);
  if (scheme.kind !== 'table') {
    throw fail('SCHEME', 'the format holds codes of a table, got others; export the dense model as bitsandbytes:nf4');
  }
  if (activations === true || weight.activations !== undefined) {
    throw fail('SCHEME', 'the format says nothing of activations, got quantized ones; use compressed-tensors');
  }
  if (blockSize % scheme.granularity.size !== 0 && scheme.granularity.size % blockSize !== 0) {
    throw fail('SCHEME', `blocks of ${blockSize} must hold whole runs of ${scheme.granularity.size} values`);
  }
  return { name, rows, columns, blockSize, blocks: Math.ceil((rows * columns) / blockSize), scheme };
}

function tensors({ name, rows, columns, blocks, blockSize, scheme }: Layout, double: boolean): readonly FormatTensor[] {
  const { table, valueDType } = scheme;
  const nested = double ? { blockSize: NESTED_BLOCK, offset: 0 } : undefined;
  const state = double
    ? STATE_BYTES
    : quantStateBytes({ table, blockSize, valueDType, shape: [rows, columns], ...(nested && { nested }) }).length;
  return [
    storedTensor(name, 'u8', [Math.ceil((rows * columns) / 2), 1]),
    storedTensor(`${name}.absmax`, double ? 'u8' : 'f32', [blocks]),
    storedTensor(`${name}.quant_map`, 'f32', [16]),
    ...(double
      ? [
          storedTensor(`${name}.nested_absmax`, 'f32', [Math.ceil(blocks / NESTED_BLOCK)]),
          storedTensor(`${name}.nested_quant_map`, 'f32', [256]),
        ]
      : []),
    storedTensor(`${name}.${STATE_SUFFIX[table]}`, 'u8', [state]),
  ];
}

async function* chunks(weight: QuantizedWeight, layout: Layout, double: boolean): AsyncGenerator<StoredChunk> {
  const { name, rows, columns, blocks, blockSize, scheme } = layout;
  const { table, valueDType, granularity } = scheme;
  const maxima = new Float32Array(blocks).fill(NaN);
  // An even number of rows fills whole bytes.
  const step = Math.max(2, Math.floor(BLOCK_CODES / columns / 2) * 2);
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    const { codes, scales } = await weight.block(start, end);
    const bytes = new Uint8Array(Math.ceil(codes.length / 2));
    for (let i = 0; i < bytes.length; i += 1) bytes[i] = (codes[2 * i]! << 4) | ((codes[2 * i + 1] ?? 0) & 15);
    yield { name, offset: (start * columns) / 2, bytes };
    gatherMaxima(maxima, scales, start * columns, granularity.size, layout);
  }
  const one = (suffix: string, values: Float32Array | Uint8Array): StoredChunk => ({
    name: `${name}.${suffix}`,
    offset: 0,
    bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  });
  yield one('quant_map', codeTable(table));
  const common = { table, blockSize, valueDType, shape: [rows, columns] as const };
  if (!double) {
    yield one('absmax', maxima);
    yield one(STATE_SUFFIX[table], quantStateBytes(common));
    return;
  }
  const { codes, outer, offset } = codeMaxima(maxima);
  yield one('absmax', codes);
  yield one('nested_absmax', outer);
  yield one('nested_quant_map', DYNAMIC_MAP);
  const state = quantStateBytes({ ...common, nested: { blockSize: NESTED_BLOCK, offset } });
  // The offset has more or fewer digits: white space behind the JSON fills the planned length.
  const padded = new Uint8Array(STATE_BYTES).fill(0x20);
  padded.set(state);
  yield one(STATE_SUFFIX[table], padded);
}

/** Puts the scales of runs of values from `at` on where their blocks are. @throws where a block has several */
function gatherMaxima(
  maxima: Float32Array,
  scales: Float32Array,
  at: number,
  run: number,
  { name, blockSize }: Layout,
): void {
  for (let i = 0; i < scales.length; i += 1) {
    const from = at + i * run;
    for (let block = Math.floor(from / blockSize); block * blockSize < from + run; block += 1) {
      const known = maxima[block]!;
      if (!Number.isNaN(known) && known !== scales[i]) {
        throw new PithError(
          'BNB_SCHEME_UNSUPPORTED',
          `store "${name}" as bitsandbytes: blocks of ${blockSize} must have one absolute maximum, block ${block} has ` +
            `several; export the dense model`,
          { details: { tensor: name, block } },
        );
      }
      maxima[block] = scales[i]!;
    }
  }
}

/** Absolute maxima as codes of {@link DYNAMIC_MAP}. */
export function codeMaxima(maxima: Float32Array) {
  const offset = Math.fround(maxima.reduce((sum, value) => sum + value, 0) / maxima.length);
  const codes = new Uint8Array(maxima.length);
  const outer = new Float32Array(Math.ceil(maxima.length / NESTED_BLOCK));
  for (let block = 0; block < outer.length; block += 1) {
    const [start, end] = [block * NESTED_BLOCK, Math.min(maxima.length, (block + 1) * NESTED_BLOCK)];
    let most = 0;
    for (let i = start; i < end; i += 1) most = Math.max(most, Math.abs(Math.fround(maxima[i]! - offset)));
    outer[block] = most;
    for (let i = start; i < end; i += 1) {
      codes[i] = dynamicCode(most === 0 ? 0 : Math.fround(Math.fround(maxima[i]! - offset) / most));
    }
  }
  return { codes, outer, offset };
}

function config(weights: readonly StoredShape[], { ignore = [] }: FormatContext, double: boolean): FormatConfig {
  mixedWeights('bitsandbytes', 'BNB', weights, ({ scheme }) => (scheme as TableScheme).table);
  const { table, valueDType } = weights[0]!.scheme as TableScheme;
  return {
    members: {
      quantization_config: {
        bnb_4bit_compute_dtype: TORCH_DTYPES[valueDType],
        bnb_4bit_quant_storage: 'uint8',
        bnb_4bit_quant_type: table,
        bnb_4bit_use_double_quant: double,
        llm_int8_skip_modules: ignore.length > 0 ? [...ignore] : null,
        load_in_4bit: true,
        load_in_8bit: false,
        quant_method: 'bitsandbytes',
      },
    },
    files: {},
  };
}

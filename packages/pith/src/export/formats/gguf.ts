// One file (or several, split) for llama.cpp, Ollama, LM Studio and node-llama-cpp.
import { basename } from 'node:path';
import { planGguf, type GgufValue } from '@pith/checkpoint';
import { ggufMetadata, ggufTensors, ggufTokenizer, type GgufTensorSource } from '@pith/model';
import { interleavedRows } from '@pith/quant';
import type { OpenModel } from '@pith/model/node';
import { fromF32, PithError, throwIfStopped, type WeightTensor } from '@pith/tensor-core';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { PlannedTensor } from '../../plan/types.ts';
import { refuseOverflow } from '../../source/restored-weight.ts';
import type { ExportFormat, ExportRequest, PreparedExport } from '../format.ts';
import { unusedOptions } from '../unused-options.ts';

type PlainType = 'f32' | 'f16' | 'bf16';

/** Values that are converted at a time. */
const CHUNK_VALUES = 2 ** 21;
/** Chunks in every stage of their making, and the vocabulary. */
const WORKING_BYTES = 300e6;
/** llama.cpp's numbers of mixtures. */
const FILE_TYPES: Readonly<Record<PlainType, number>> = { f32: 0, f16: 1, bf16: 32 };

/** The format `gguf`. */
export const gguf: ExportFormat = {
  name: 'gguf',
  summary: 'one file for llama.cpp, Ollama, LM Studio and node-llama-cpp',
  variants: ['f16', 'bf16', 'f32'],
  output: 'file',
  readable: false,
  describe: (variant) => `matrices as ${variant}, vectors as f32`,
  prepare: async (model, variant, request) => prepare(model, variant as PlainType, request),
};

async function prepare(model: OpenModel, type: PlainType, request: ExportRequest): Promise<PreparedExport> {
  const { architecture, weights } = model;
  const sources = ggufTensors(architecture);
  const name = basename(request.name).replace(/\.gguf$/i, '');
  const metadata = ggufMetadata(architecture, { name, fileType: FILE_TYPES[type] });
  for (const [key, value] of await tokenizerMetadata(model)) metadata.set(key, value);
  const specs = sources.map(({ name: tensor, shape }) => ({
    name: tensor,
    type: shape.length === 1 ? ('f32' as const) : type,
    shape,
  }));
  const layout = planGguf(metadata, specs);
  const placed = new Map(layout.tensors.map((tensor) => [tensor.name, tensor]));
  const bySource = new Map(sources.flatMap((tensor) => tensor.parts.map(({ name: part }) => [part, tensor] as const)));
  const tensors = [...weights.values()].map((weight): PlannedTensor => {
    const made = bySource.get(weight.name);
    const bytesBefore = weight.byteLength;
    if (made === undefined) {
      const reason = 'left out: the output projection is the token embedding';
      return { name: weight.name, action: 'omit', reason, bytesBefore, bytesAfter: 0 };
    }
    const { type: stored, byteLength } = placed.get(made.name)!;
    return {
      name: weight.name,
      action: 'convert',
      reason: `${made.name} as ${stored}`,
      bytesBefore,
      bytesAfter: byteLength,
    };
  });
  return {
    tensors,
    bytesAfter: layout.byteLength,
    dataBytes: layout.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
    notices: [],
    problems: unusedOptions('gguf', request, ['calibration', 'importance', 'shardBytes']),
    options: {},
    peakMemoryBytes: WORKING_BYTES,
    async write({ directory, signal, progress }) {
      const file = await open(join(directory, request.name), 'w');
      try {
        await file.write(layout.header, 0, layout.header.length, 0);
        for (const [done, source] of sources.entries()) {
          const place = placed.get(source.name)!;
          progress?.({ phase: 'write', item: source.name, done, total: sources.length, unit: 'tensor' });
          let at = place.offset;
          for await (const values of chunksOf(source, weights)) {
            throwIfStopped(signal, 'export');
            const stored = place.type as PlainType;
            if (stored === 'f16') refuseOverflow(source.name, values);
            const bytes = fromF32(stored, values);
            await file.write(bytes, 0, bytes.length, at);
            at += bytes.length;
          }
        }
        await file.truncate(layout.byteLength);
      } finally {
        await file.close();
      }
      return {};
    },
  };
}

/** The values of a tensor in f32, in order, some rows at a time. */
async function* chunksOf(
  { parts, values, shape }: GgufTensorSource,
  weights: ReadonlyMap<string, WeightTensor>,
): AsyncGenerator<Float32Array> {
  if (values !== undefined) yield values;
  const columns = shape.slice(1).reduce((a, b) => a * b, 1);
  for (const { name, rotaryHeadDim } of parts) {
    const weight = weights.get(name)!;
    const rows = weight.shape[0]!;
    const unit = rotaryHeadDim ?? 1;
    const step = unit * Math.max(1, Math.floor(CHUNK_VALUES / (unit * columns)));
    for (let start = 0; start < rows; start += step) {
      const part = await weight.toF32(start, Math.min(rows, start + step));
      if (rotaryHeadDim === null) {
        yield part;
        continue;
      }
      const moved = new Float32Array(part.length);
      for (const [to, from] of interleavedRows(part.length / columns, rotaryHeadDim).entries()) {
        moved.set(part.subarray(from * columns, (from + 1) * columns), to * columns);
      }
      yield moved;
    }
  }
}

async function tokenizerMetadata(model: OpenModel): Promise<Map<string, GgufValue>> {
  const { checkpoint, config } = model;
  const json = async (name: string): Promise<Record<string, unknown> | undefined> => {
    if (!checkpoint.files.some((file) => file.name === name)) return undefined;
    const source = await checkpoint.store.open(name);
    return JSON.parse(new TextDecoder().decode(await source.read(0, source.byteLength))) as Record<string, unknown>;
  };
  const tokenizer = await json('tokenizer.json');
  if (tokenizer === undefined || model.tokenizer === null) {
    throw new PithError('TOKENIZER_MISSING', 'export GGUF: the model must have a tokenizer.json, it has none; add it', {
      details: { directory: checkpoint.label },
    });
  }
  const settings = (await json('tokenizer_config.json')) ?? {};
  const { chat_template: template } = settings;
  return ggufTokenizer(tokenizer, {
    vocabularySize: config.vocabularySize,
    bosTokenId: config.bosTokenId,
    eosTokenId: config.eosTokenIds[0] ?? null,
    addBos: settings['add_bos_token'] === true,
    ...(typeof template === 'string' && { chatTemplate: template }),
  });
}

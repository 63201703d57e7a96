// The metadata of an exported GGUF file: of a checkpoint, made from its config and tokenizer; of a GGUF file, carried over.
import { openGguf, type GgufValue } from '@pith/checkpoint';
import { ggufMetadata, ggufName, ggufTokenizer } from '@pith/model';
import type { OpenModel } from '@pith/model/node';
import { PithError } from '@pith/tensor-core';
import { poolingOf } from './pooling.ts';

/** Keys that say how a file is cut, which an output says anew. */
const SPLIT = ['split.no', 'split.count', 'split.tensors.count'];

/** The metadata of a model. */
export async function exportMetadata(
  model: OpenModel,
  name: string,
  fileType: number,
): Promise<Map<string, GgufValue>> {
  const { checkpoint, architecture } = model;
  if (checkpoint.quantization?.method === 'gguf') return carriedMetadata(model, fileType);
  const { pooling } = await poolingOf(model);
  const json = await tokenizerOf(model);
  const metadata = ggufMetadata(architecture, { name: ggufName(name, json), fileType, ...(pooling && { pooling }) });
  for (const [key, value] of await tokenizerMetadata(model, json)) metadata.set(key, value);
  return metadata;
}

/** Everything that the source says, with another file type. */
async function carriedMetadata({ checkpoint }: OpenModel, fileType: number): Promise<Map<string, GgufValue>> {
  const [first] = checkpoint.weightFiles;
  const { metadata } = await openGguf(await checkpoint.store.open(first!), checkpoint.label);
  const carried = new Map(metadata);
  // The two that are said anew come last, where llama-quantize has them.
  for (const key of [...SPLIT, 'general.quantization_version', 'general.file_type']) carried.delete(key);
  carried.set('general.quantization_version', { type: 'uint32', value: 2 });
  carried.set('general.file_type', { type: 'uint32', value: fileType });
  return carried;
}

/** The text of a file beside the weights, or undefined where there is none. */
async function textOf({ checkpoint }: OpenModel, name: string): Promise<string | undefined> {
  if (!checkpoint.files.some((file) => file.name === name)) return undefined;
  const source = await checkpoint.store.open(name);
  return new TextDecoder().decode(await source.read(0, source.byteLength));
}

/** The parsed tokenizer.json. @throws PithError `TOKENIZER_MISSING`. */
async function tokenizerOf(model: OpenModel): Promise<unknown> {
  const tokenizer = await textOf(model, 'tokenizer.json');
  if (tokenizer !== undefined && model.tokenizer !== null) return JSON.parse(tokenizer);
  throw new PithError('TOKENIZER_MISSING', 'export GGUF: the model must have a tokenizer.json, it has none; add it', {
    details: { directory: model.checkpoint.label },
  });
}

async function tokenizerMetadata(model: OpenModel, json: unknown): Promise<Map<string, GgufValue>> {
  const { config } = model;
  const settings = JSON.parse((await textOf(model, 'tokenizer_config.json')) ?? '{}') as Record<string, unknown>;
  const { default: named, ...others } = Object.fromEntries(templatesOf(settings['chat_template']));
  const template = (await textOf(model, 'chat_template.jinja')) ?? named;
  const paddingToken = tokenOf(settings['pad_token']);
  const maskToken = tokenOf(settings['mask_token']);
  const eos = config.eosTokenIds[0] ?? model.stopTokenIds[0];
  const otherEnds = [...model.stopTokenIds, ...config.eosTokenIds].filter((id) => id !== eos);
  return ggufTokenizer(json, {
    vocabularySize: config.vocabularySize,
    bosTokenId: config.bosTokenId,
    eosTokenId: eos ?? null,
    ...(otherEnds.length > 0 && { endOfTurnTokenId: otherEnds[0]! }),
    ...(paddingToken !== undefined && { paddingToken }),
    ...(maskToken !== undefined && { maskToken }),
    ...(typeof settings['add_bos_token'] === 'boolean' && { addBos: settings['add_bos_token'] }),
    ...(template !== undefined && { chatTemplate: template }),
    namedTemplates: others,
  });
}

/** A token of tokenizer_config.json: its text, or an object that has it. */
function tokenOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  const { content } = (value ?? {}) as { content?: unknown };
  return typeof content === 'string' ? content : undefined;
}

/** Templates by name; one that stands alone is `default`. */
function templatesOf(value: unknown): Map<string, string> {
  if (typeof value === 'string') return new Map([['default', value]]);
  if (!Array.isArray(value)) return new Map();
  const named = value as readonly { name?: unknown; template?: unknown }[];
  return new Map(
    named.flatMap(({ name, template }) =>
      typeof name === 'string' && typeof template === 'string' ? [[name, template] as const] : [],
    ),
  );
}

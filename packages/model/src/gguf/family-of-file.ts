// Which architecture a GGUF file is of. llama.cpp has one name for several that Hugging Face tells apart.
import { PithError } from '@pith/tensor-core';
import { CONFIG_FAMILIES } from './config-families.ts';
import { GGUF_FAMILIES, type GgufFamily } from './gguf-family.ts';
import type { MetadataReader } from './metadata-reader.ts';

/** Whether files of an architecture are read: by `model_type`. */
export function readsGguf(modelType: string): boolean {
  return modelType in CONFIG_FAMILIES && GGUF_FAMILIES.some((one) => one.modelType === modelType);
}

/**
 * The family of a file. What llama.cpp calls `llama` is Mixtral with experts, Mistral with a sliding window, Llama otherwise.
 *
 * @param file label of the file in errors.
 * @throws PithError `GGUF_KEY_MISSING`, `GGUF_VALUE_INVALID`, `GGUF_ARCHITECTURE_UNSUPPORTED`.
 */
export function familyOfFile(metadata: MetadataReader, file: string): GgufFamily {
  const architecture = metadata.require('general.architecture', metadata.text('general.architecture'));
  const readable = GGUF_FAMILIES.filter((one) => readsGguf(one.modelType));
  const candidates = readable.filter((one) => one.architecture === architecture);
  const key = (name: string): string => `${architecture}.${name}`;
  const whenOf = ({ modelType }: GgufFamily) => CONFIG_FAMILIES[modelType]!.when;
  const found =
    candidates.find((one) => whenOf(one)?.(metadata, key) === true) ??
    candidates.find((one) => whenOf(one) === undefined);
  if (found !== undefined) return found;
  const known = [...new Set(readable.map((one) => one.architecture))];
  throw new PithError(
    'GGUF_ARCHITECTURE_UNSUPPORTED',
    `open GGUF: ${file}: general.architecture must be one of ${known.join(', ')}, got ${JSON.stringify(architecture.slice(0, 80))}; ` +
      'open the model that the file was made from',
    { details: { file, architecture: architecture.slice(0, 80), known } },
  );
}

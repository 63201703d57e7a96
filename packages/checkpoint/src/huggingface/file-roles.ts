// What each file of a Hugging Face directory is for, and whether an output carries it over. Files are carried byte for
// byte; what is not carried is listed with the reason, never dropped in silence.

/** What a file of a checkpoint is for. */
export type FileRole = 'weights' | 'index' | 'config' | 'generation-config' | 'tokenizer' | 'licence' | 'other';

/** A file of a checkpoint and what becomes of it in an output. */
export interface CheckpointFile {
  /** Name within the directory. */
  readonly name: string;
  /** Bytes; 0 for folders. */
  readonly byteLength: number;
  /** What it is for. */
  readonly role: FileRole;
  /** True when an output gets a copy, byte for byte. */
  readonly carried: boolean;
  /** Why, for those that are not carried. */
  readonly reason?: string;
}

const TOKENIZER_FILES: ReadonlySet<string> = new Set([
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'vocab.txt',
  'merges.txt',
  'tokenizer.model',
  'tokenizer.model.v3',
  'spiece.model',
  'sentencepiece.bpe.model',
  'chat_template.jinja',
  'chat_template.json',
  'tekken.json',
  'preprocessor_config.json',
  'processor_config.json',
]);
const TOKENIZER_PATTERN = /^[\w.-]+\.tiktoken$/;
const LICENCE_PATTERN = /^(licen[cs]e|notice|use_policy|copying)(\.(md|txt))?$/i;
const WEIGHT_PATTERN = /\.(bin|pt|pth|ckpt|gguf|h5|msgpack|onnx|onnx_data|npz|ot|tflite)$/i;

/** The role of a file. `weights` holds the names of the safetensors files that the checkpoint is made of. */
export function fileRole(
  file: { readonly name: string; readonly byteLength: number; readonly kind: string },
  weights: ReadonlySet<string>,
): CheckpointFile {
  const { name, byteLength } = file;
  const carried = (role: FileRole): CheckpointFile => ({ name, byteLength, role, carried: true });
  const left = (role: FileRole, reason: string): CheckpointFile => ({ name, byteLength, role, carried: false, reason });
  if (file.kind === 'directory') return left('other', 'folders are not carried over');
  if (file.kind === 'special') return left('other', 'it is not a regular file, or a link that leaves the directory');
  if (weights.has(name)) return left('weights', 'the output has weights of its own');
  if (name === 'config.json') return left('config', 'the output has a config of its own, made from this one');
  if (name === 'generation_config.json') return carried('generation-config');
  if (name === 'model.safetensors.index.json') return left('index', 'the output has an index of its own where needed');
  if (TOKENIZER_FILES.has(name) || TOKENIZER_PATTERN.test(name)) return carried('tokenizer');
  if (LICENCE_PATTERN.test(name)) return carried('licence');
  if (name.endsWith('.safetensors'))
    return left('other', 'no part of the model: neither model.safetensors nor in the index');
  if (WEIGHT_PATTERN.test(name) || /\.bin\.index\.json$/.test(name)) {
    return left('other', 'a copy of the weights in another format, which would no longer match');
  }
  if (name.endsWith('.py')) return left('other', 'code of the checkpoint is neither run nor carried over');
  if (/^readme(\.md)?$/i.test(name)) return left('other', 'it describes the original model');
  return left('other', 'not known to belong to the model or its tokenizer');
}

/** What of the files that an output should have a copy of cannot be copied, in words for a plan. */
export function notCarried(
  files: readonly { readonly name: string; readonly byteLength: number; readonly kind: string }[],
): string[] {
  return files.flatMap(({ name, byteLength, kind }) => {
    if (kind === 'file' || !fileRole({ name, byteLength, kind: 'file' }, new Set()).carried) return [];
    const why =
      kind === 'directory' ? 'a folder' : 'no regular file, a link to nothing, or a link out of the directory';
    return [`${name} is not carried over: it is ${why}`];
  });
}

// How text is cut into words before byte-level BPE, by the names that llama.cpp has for it. llama.cpp knows the regular
// expressions behind each name (src/llama-vocab.cpp); a tokenizer.json has them written out.

/** A part of a tokenizer.json. */
export interface TokenizerNode {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** One way to cut text. */
export interface NamedPreTokenizer {
  /** `tokenizer.ggml.pre`. */
  readonly name: string;
  /** Other names under which llama.cpp does the same. */
  readonly aliases?: readonly string[];
  /** True where a whole word that is in the vocabulary is one token, whatever the merges say. */
  readonly ignoreMerges?: boolean;
  /** The same as tokenizer.json has it. */
  readonly json: TokenizerNode;
}

/** Byte-level mapping alone. */
const BYTES: TokenizerNode = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
/** Byte-level mapping after GPT-2's cutting. */
const GPT2: TokenizerNode = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };

const sequence = (...pretokenizers: readonly TokenizerNode[]): TokenizerNode => ({ type: 'Sequence', pretokenizers });
const split = (Regex: string): TokenizerNode => ({
  type: 'Split',
  pattern: { Regex },
  behavior: 'Isolated',
  invert: false,
});
const digits = (individual_digits: boolean): TokenizerNode => ({ type: 'Digits', individual_digits });

const LETTERS = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+';
const REST = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const LLAMA3 = sequence(split(`${ENDINGS}|${LETTERS}|\\p{N}{1,3}|${REST}`), BYTES);
const UPPER = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const LOWER = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';

/** Every way that is known, the more usual name of the same way first. */
export const PRE_TOKENIZERS: readonly NamedPreTokenizer[] = [
  { name: 'gpt-2', aliases: ['phi-2', 'olmo', 'mpt', 'jina-es', 'jina-de', 'gigachat', 'roberta-bpe'], json: GPT2 },
  {
    name: 'smollm',
    aliases: ['starcoder', 'refact', 'command-r', 'codeshell', 'exaone', 'minerva-7b'],
    json: sequence(digits(true), GPT2),
  },
  { name: 'llama-bpe', aliases: ['llama3', 'llama-v3', 'falcon3'], ignoreMerges: true, json: LLAMA3 },
  { name: 'dbrx', aliases: ['smaug-bpe'], json: LLAMA3 },
  {
    name: 'qwen2',
    aliases: ['stablelm2', 'deepseek-r1-qwen', 'megrez'],
    json: sequence(split(`${ENDINGS}|${LETTERS}|\\p{N}|${REST}`), BYTES),
  },
  {
    name: 'gpt-4o',
    json: sequence(
      split(
        `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+${ENDINGS}?|[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*${ENDINGS}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
      ),
      BYTES,
    ),
  },
  {
    name: 'tekken',
    ignoreMerges: true,
    json: sequence(
      split(
        `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+|[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
      ),
      BYTES,
    ),
  },
  {
    name: 'falcon',
    json: sequence({ type: 'Punctuation', behavior: 'Contiguous' }, GPT2, digits(false), split('[0-9][0-9][0-9]')),
  },
  {
    name: 'deepseek-coder',
    json: sequence(
      split('[\r\n]'),
      split('\\s?\\p{L}+'),
      split('\\s?\\p{P}+'),
      split('[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+'),
      digits(true),
      BYTES,
    ),
  },
  {
    name: 'deepseek-v3',
    aliases: ['joyai-llm'],
    json: sequence(
      split('\\p{N}{1,3}'),
      split('[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+'),
      split(
        '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+',
      ),
      BYTES,
    ),
  },
  {
    name: 'bloom',
    aliases: ['poro-chat', 'gpt3-finnish'],
    json: sequence(split(' ?[^(\\s|[.,!?…。，、।۔،])]+'), BYTES),
  },
];

/** What of a node changes how text is cut, as text that can be compared. */
function essence(node: unknown): string {
  const { type, ...given } = node as TokenizerNode;
  if (type === 'Sequence') {
    return `(${((given['pretokenizers'] ?? []) as readonly TokenizerNode[]).map(essence).join(' ')})`;
  }
  if (type === 'Split') {
    const { Regex, String: literal } = (given['pattern'] ?? {}) as { Regex?: string; String?: string };
    const pattern = Regex ?? literal?.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&') ?? '';
    // What a pattern that covers every text does not match is nothing: taking that away is cutting between the matches.
    const removed = given['behavior'] === 'Removed' && given['invert'] === true;
    return `split ${pattern} ${removed ? 'Isolated false' : `${String(given['behavior'])} ${given['invert'] === true}`}`;
  }
  if (type === 'ByteLevel') return `bytes ${given['use_regex'] !== false} ${given['add_prefix_space'] === true}`;
  if (type === 'Digits') return `digits ${given['individual_digits'] === true}`;
  return `${type} ${JSON.stringify(given, Object.keys(given).sort())}`;
}

/** The way of a tokenizer.json, or undefined where llama.cpp has no name for it. */
export function namePreTokenizer(node: unknown, ignoreMerges: boolean): NamedPreTokenizer | undefined {
  if (typeof node !== 'object' || node === null) return undefined;
  const only = node as TokenizerNode;
  const parts = only.type === 'Sequence' ? (only['pretokenizers'] as readonly TokenizerNode[] | undefined) : undefined;
  // A sequence of one is that one.
  const wanted = essence(parts?.length === 1 ? parts[0] : only);
  const same = PRE_TOKENIZERS.filter(({ json }) => essence(json) === wanted);
  return same.find((one) => (one.ignoreMerges ?? false) === ignoreMerges) ?? same[0];
}

/** The way with a name. */
export function preTokenizerOf(name: string): NamedPreTokenizer | undefined {
  return PRE_TOKENIZERS.find((one) => one.name === name || one.aliases?.includes(name) === true);
}

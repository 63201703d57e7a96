// llama.cpp reads something out of the name of a model: where it has "phi-3" or "phi3" in it, special tokens take the white space behind
// them, and a file without four tokens of Phi-3 is not loaded (src/llama-vocab.cpp, `set attributes by model/tokenizer/architecture name`).
import type { TokenizerJson } from './tokenizer-json.ts';
import { pieceIds } from './tokenizer-json.ts';

const MEANT = /phi-?3/i;
/** Tokens that must be there. */
const WANTED = ['</s>', '<unk>', '<s>', '<|endoftext|>'];

/**
 * `general.name`: the name that is asked for, but that it says "phi-3" for tokenizers whose special tokens take the white space behind
 * them as Phi-3's do, and not for those that lack its tokens.
 *
 * @param tokenizerJson A parsed tokenizer.json.
 */
export function ggufName(name: string, tokenizerJson: unknown): string {
  const json = tokenizerJson as TokenizerJson;
  const ids = pieceIds(json);
  const added = json.added_tokens ?? [];
  const has = (token: string) => ids.has(token) || added.some(({ content }) => content === token);
  if (!WANTED.every(has)) return name.replace(/phi-?3/gi, 'phi 3');
  const strips = added.some(({ special, rstrip }) => special === true && rstrip === true);
  return strips && !MEANT.test(name) ? `phi-3 ${name}` : name;
}

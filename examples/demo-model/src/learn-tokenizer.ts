// Learns the demo model's tokenizer from text.
import { byteCharacters, byteLevelWords } from './bpe/byte-level.ts';
import { tokenizerFiles } from './bpe/tokenizer-files.ts';
import { trainBytePairs } from './bpe/train-bpe.ts';

/** Options of {@link learnTokenizer}. */
export interface TokenizerSettings {
  /** Symbols in all, special tokens included. */
  readonly size: number;
  readonly bos: string;
  readonly eos: string;
}

/** tokenizer.json and tokenizer_config.json of a byte-level BPE learnt from these texts; BOS is 0, EOS is 1. */
export function learnTokenizer(texts: readonly string[], { size, bos, eos }: TokenizerSettings, maxLength: number) {
  const counts = new Map<string, number>();
  for (const text of texts) for (const word of byteLevelWords(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  // The alphabet in the order of its characters, as other trainers write it.
  const alphabet = [...byteCharacters].sort();
  const { vocabulary, merges } = trainBytePairs(counts, alphabet, size - 2);
  return tokenizerFiles({ vocabulary: [bos, eos, ...vocabulary], merges }, { bos, eos }, maxLength);
}

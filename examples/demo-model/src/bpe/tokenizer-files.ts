// tokenizer.json and tokenizer_config.json of Hugging Face for a byte-level byte-pair encoding.
import type { BytePairEncoding } from './train-bpe.ts';

/** The tokens that begin and end a text. */
export interface SpecialTokens {
  readonly bos: string;
  readonly eos: string;
}

/**
 * The two files' contents, ready for JSON. Ids follow the order of `encoding.vocabulary`, which holds the special
 * tokens. Encoding with special tokens puts `bos` in front.
 */
export function tokenizerFiles(encoding: BytePairEncoding, special: SpecialTokens, maxLength: number) {
  const ids = new Map(encoding.vocabulary.map((symbol, id) => [symbol, id]));
  const addedTokens = [special.bos, special.eos].map((content) => ({
    id: ids.get(content)!,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const bos = { SpecialToken: { id: special.bos, type_id: 0 } };
  const sequence = (id: string, type: number) => ({ Sequence: { id, type_id: type } });
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: {
      type: 'TemplateProcessing',
      single: [bos, sequence('A', 0)],
      pair: [bos, sequence('A', 0), { SpecialToken: { id: special.bos, type_id: 1 } }, sequence('B', 1)],
      special_tokens: {
        [special.bos]: { id: special.bos, ids: [ids.get(special.bos)!], tokens: [special.bos] },
      },
    },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(ids),
      merges: encoding.merges,
    },
  };
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: special.bos,
    eos_token: special.eos,
    clean_up_tokenization_spaces: false,
    model_max_length: maxLength,
  };
  return { tokenizer, config };
}

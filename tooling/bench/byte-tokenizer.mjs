// A tokenizer of single letters, so that a synthetic checkpoint can be evaluated.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes tokenizer.json into `dir`: `<unk>` 0, `<s>` 1, `</s>` 2, then the printable ASCII characters. */
export function byteTokenizer(dir) {
  const special = ['<unk>', '<s>', '</s>'];
  const vocab = Object.fromEntries(special.map((token, id) => [token, id]));
  for (let code = 32; code < 127; code++) vocab[String.fromCharCode(code)] = code - 32 + special.length;
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'Split', pattern: { Regex: '' }, behavior: 'Isolated', invert: false },
    post_processor: null,
    decoder: { type: 'Fuse' },
    model: { type: 'BPE', dropout: null, unk_token: '<unk>', fuse_unk: false, byte_fallback: false, vocab, merges: [] },
  };
  writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify(tokenizer));
  writeFileSync(
    join(dir, 'tokenizer_config.json'),
    JSON.stringify({
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: '<s>',
      eos_token: '</s>',
      unk_token: '<unk>',
    }),
  );
}

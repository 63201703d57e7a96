// WordPiece for a GGUF file. llama.cpp writes pieces the other way round: one that opens a word is marked by U+2581, one that goes
// on (`##ing`) is bare. It cuts text as BERT does, with case and accents kept or not.
//
// Left out: words longer than `max_input_chars_per_word`, which are unknown to tokenizer.json, are cut like others there.
import {
  pieceIds,
  listTokens,
  stepsOf,
  templateEnds,
  unsupportedTokenizer,
  type TokenizerJson,
  type TokenizerKeys,
} from './tokenizer-json.ts';
import { TOKEN_TYPES } from './token-types.ts';

const OPENING = '\u2581';
const CONTINUING = '##';

/**
 * The keys of WordPiece.
 *
 * @throws PithError `GGUF_TOKENIZER_UNSUPPORTED` for text that is cut in another way than BERT does.
 */
export function wordPieceKeys(json: TokenizerJson, size: number): TokenizerKeys {
  const { lowercase, stripAccents } = bertSteps(json);
  const prefix = json.model.continuing_subword_prefix ?? CONTINUING;
  const tokens = listTokens(json, size, () => TOKEN_TYPES.normal).map(({ text, type }) => {
    if (type !== TOKEN_TYPES.normal) return { text, type };
    return { text: text.startsWith(prefix) ? text.slice(prefix.length) : OPENING + text, type };
  });
  const { first, last } = templateEnds(json);
  if (first === null || last === null) {
    throw unsupportedTokenizer('the template of WordPiece must open and close a text with a token ([CLS] ... [SEP])');
  }
  const unknown = pieceIds(json).get(json.model.unk_token ?? '[UNK]') ?? null;
  return {
    model: 'bert',
    pre: 'default',
    tokens,
    special: { bos: first, eos: last, unknown, seperator: last, cls: first },
    more: {
      'normalizer.lowercase': { type: 'bool', value: lowercase },
      'normalizer.strip_accents': { type: 'bool', value: stripAccents },
    },
  };
}

function bertSteps({ normalizer, pre_tokenizer: pre }: TokenizerJson): { lowercase: boolean; stripAccents: boolean } {
  const [cleaning, ...otherCleaning] = stepsOf(normalizer);
  const [cutting, ...otherCutting] = stepsOf(pre);
  if (cleaning?.type !== 'BertNormalizer' || otherCleaning.length > 0) {
    throw unsupportedTokenizer(`the normalizer of WordPiece must be BertNormalizer, got ${typesOf(normalizer)}`);
  }
  if (cutting?.type !== 'BertPreTokenizer' || otherCutting.length > 0) {
    throw unsupportedTokenizer(`the pre-tokenizer of WordPiece must be BertPreTokenizer, got ${typesOf(pre)}`);
  }
  for (const option of ['clean_text', 'handle_chinese_chars']) {
    if (cleaning[option] === false) throw unsupportedTokenizer(`${option} of BertNormalizer must be true, got false`);
  }
  const lowercase = cleaning['lowercase'] !== false;
  return { lowercase, stripAccents: (cleaning['strip_accents'] as boolean | null | undefined) ?? lowercase };
}

function typesOf(step: TokenizerJson['normalizer']): string {
  return (
    stepsOf(step)
      .map(({ type }) => type)
      .join(', ') || 'none'
  );
}

// SentencePiece-style BPE for a GGUF file: the better of two neighbouring pairs is merged first, so that the index of a merge,
// negated, is the score of the piece it makes.
import { TOKEN_TYPES } from './token-types.ts';
import {
  listTokens,
  mergePairs,
  stepsOf,
  type ListedToken,
  type TokenizerJson,
  type TokenizerKeys,
} from './tokenizer-json.ts';

/** The keys of SentencePiece-style BPE with byte fallback. */
export function sentencePieceKeys(json: TokenizerJson, size: number): TokenizerKeys {
  const { unk_token: unknown } = json.model;
  const tokens = listTokens(json, size, (piece) => {
    if (/^<0x[0-9A-F]{2}>$/.test(piece)) return TOKEN_TYPES.byte;
    return piece === unknown && isAdded(json, piece) ? TOKEN_TYPES.unknown : TOKEN_TYPES.normal;
  });
  return {
    model: 'llama',
    pre: 'default',
    tokens,
    scores: pieceScores(json, tokens),
    special: {},
    more: { add_space_prefix: { type: 'bool', value: prependsSpace(json) } },
  };
}

function isAdded(json: TokenizerJson, piece: string): boolean {
  return json.added_tokens?.some(({ content }) => content === piece) === true;
}

function pieceScores(json: TokenizerJson, tokens: readonly ListedToken[]): number[] {
  const pairs = mergePairs(json);
  const first = new Map<string, number>();
  pairs.forEach(([left, right], index) => {
    const piece = left + right;
    if (!first.has(piece)) first.set(piece, index);
  });
  return tokens.map(({ text, type }, id) => {
    if (type !== TOKEN_TYPES.normal) return 0;
    const merge = first.get(text);
    return -(merge ?? pairs.length + id);
  });
}

/** Whether a space is put before a text: by the normalizer, or by a Metaspace pre-tokenizer. */
export function prependsSpace({ normalizer, pre_tokenizer: pre }: TokenizerJson): boolean {
  return (
    stepsOf(normalizer).some(({ type }) => type === 'Prepend') ||
    stepsOf(pre).some(
      ({ type, prepend_scheme: scheme, add_prefix_space: adds }) =>
        type === 'Metaspace' && scheme !== 'never' && adds !== false,
    )
  );
}

// Unigram (Kudo 2018) for a GGUF file: llama.cpp calls it "t5". Scores are those of the file; spaces are U+2581; a precompiled map of
// characters is carried as it is.
import type { GgufValue } from '@pith/checkpoint';
import { prependsSpace } from './sentence-piece.ts';
import { TOKEN_TYPES } from './token-types.ts';
import {
  isPieceList,
  listTokens,
  stepsOf,
  unsupportedTokenizer,
  type TokenizerJson,
  type TokenizerKeys,
} from './tokenizer-json.ts';

const SPACE = '\u2581';

/**
 * The keys of Unigram.
 *
 * @throws PithError `GGUF_TOKENIZER_UNSUPPORTED` for bytes of unknown characters, pieces across words, and normalizers that llama.cpp
 * does not have.
 */
export function unigramKeys(json: TokenizerJson, size: number): TokenizerKeys {
  const { vocab, unk_id: unknownId = null, byte_fallback: bytes } = json.model;
  const pieces = isPieceList(vocab) ? vocab : [];
  if (bytes === true) {
    throw unsupportedTokenizer('Unigram must have an unknown token and no byte_fallback, got byte_fallback true');
  }
  if (unknownId === null || pieces[unknownId] === undefined) {
    throw unsupportedTokenizer(`Unigram must have an unknown token, got unk_id ${unknownId}`);
  }
  const unknown = pieces[unknownId][0];
  checkCutting(json, pieces);
  const { merges, map } = normalizing(json);
  const scores = new Float32Array(size);
  pieces.forEach(([, score], id) => {
    if (id < size) scores[id] = score;
  });
  return {
    model: 't5',
    pre: 'default',
    tokens: listTokens(json, size, (piece) => (piece === unknown ? TOKEN_TYPES.unknown : TOKEN_TYPES.normal)),
    scores: [...scores],
    special: { unknown: unknownId },
    more: {
      add_space_prefix: { type: 'bool', value: prependsSpace(json) },
      remove_extra_whitespaces: { type: 'bool', value: merges },
      ...(map !== null && { precompiled_charsmap: map }),
    },
  };
}

/** The whole text is cut at once in llama.cpp: the same where no piece goes across words. */
function checkCutting({ pre_tokenizer: pre }: TokenizerJson, pieces: readonly (readonly [string, number])[]): void {
  const steps = stepsOf(pre);
  const other = steps.find(({ type }) => type !== 'Metaspace' && type !== 'WhitespaceSplit');
  if (other !== undefined || !steps.some(({ type }) => type === 'Metaspace')) {
    throw unsupportedTokenizer(`the pre-tokenizer of Unigram must be Metaspace, got ${other?.type ?? 'none'}`);
  }
  const replacement = steps.find(({ type }) => type === 'Metaspace')!['replacement'] ?? SPACE;
  if (replacement !== SPACE) {
    throw unsupportedTokenizer(`Metaspace must write spaces as ${SPACE}, got ${JSON.stringify(replacement)}`);
  }
  if (steps.every(({ type, split }) => type === 'Metaspace' && split === false)) return;
  const across = pieces.find(([piece]) => /[^\u2581]\u2581/.test(piece));
  if (across !== undefined) {
    throw unsupportedTokenizer(
      `no piece of Unigram may go across words where text is cut at spaces, ${JSON.stringify(across[0].slice(0, 40))} does`,
    );
  }
}

/** A run of spaces as a pattern, as files write it. */
const SPACES = [' {2,}', '\\s+', ' +', '\\s{2,}'];

function normalizing({ normalizer, pre_tokenizer: pre }: TokenizerJson): { merges: boolean; map: GgufValue | null } {
  let merges = stepsOf(pre).some(({ type }) => type === 'WhitespaceSplit');
  let map: GgufValue | null = null;
  for (const step of stepsOf(normalizer)) {
    const pattern = step['pattern'] as { Regex?: string } | undefined;
    if (step.type === 'Precompiled') {
      map = charactersMap(String(step['precompiled_charsmap'] ?? ''));
    } else if (step.type === 'Replace' && SPACES.includes(pattern?.Regex ?? '')) {
      merges = true;
    } else if (step.type !== 'Strip' && step.type !== 'Prepend') {
      throw unsupportedTokenizer(
        `the normalizer of Unigram must be Precompiled, Strip, or Replace of spaces, got ${step.type}`,
      );
    }
  }
  return { merges, map };
}

function charactersMap(base64: string): GgufValue {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return { type: 'array', items: { type: 'uint8', values: [...bytes] } };
}

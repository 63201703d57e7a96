// Added tokens are cut out of a text before anything else sees it: those that are not normalized from the text as it stands, the
// others from the normalized text. The longest at the leftmost place wins (`tokenizers`, `AddedVocabulary`).
import type { Normalizer } from './normalizers.ts';
import type { Piece } from './pattern.ts';

/** An added token as tokenizer.json writes it. */
export interface AddedTokenJson {
  /** Id. */
  readonly id: number;
  /** What it looks like in a text. */
  readonly content: string;
  /** Left out of a decoded text when asked to; false when left out. */
  readonly special?: boolean;
  /** Found only where no word character stands beside it. */
  readonly single_word?: boolean;
  /** Takes the white space before it. */
  readonly lstrip?: boolean;
  /** Takes the white space behind it. */
  readonly rstrip?: boolean;
  /** Looked for in the normalized text; of tokens that are not special when left out. */
  readonly normalized?: boolean;
}

/** A piece of text, or the id of an added token. */
export type Section = Piece | number;

/** Finds added tokens. */
export type AddedTokens = (text: string) => Section[];

/** Contents by their first character, the longest first. */
type Table = ReadonlyMap<string, readonly { readonly content: string; readonly token: AddedTokenJson }[]>;

function tableOf(tokens: readonly AddedTokenJson[], normalize: Normalizer): Table {
  const table = new Map<string, { content: string; token: AddedTokenJson }[]>();
  const known = new Map(tokens.map((token) => [normalize(token.content), token]));
  for (const [content, token] of known) {
    if (content === '') continue;
    const first = content[0]!;
    table.set(first, [...(table.get(first) ?? []), { content, token }]);
  }
  for (const entries of table.values()) entries.sort((a, b) => b.content.length - a.content.length);
  return table;
}

const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200C\\u200D]';
const ENDS_WITH_WORD = new RegExp(`${WORD}$`, 'u');
const STARTS_WITH_WORD = new RegExp(`^${WORD}`, 'u');
const SPACE = /\p{White_Space}/u;

function standsAlone(text: string, start: number, end: number): boolean {
  // Two code units are enough for the character on either side.
  return (
    !ENDS_WITH_WORD.test(text.slice(Math.max(0, start - 2), start)) && !STARTS_WITH_WORD.test(text.slice(end, end + 2))
  );
}

function cutOut({ text, first }: Piece, table: Table): Section[] {
  const sections: Section[] = [];
  let kept = 0;
  const keep = (end: number) => {
    if (kept < end) sections.push({ text: text.slice(kept, end), first: first && kept === 0 });
  };
  for (let at = 0; at < text.length; at++) {
    const found = table.get(text[at]!)?.find(({ content }) => text.startsWith(content, at));
    if (!found) continue;
    const { content, token } = found;
    let start = at;
    let end = at + content.length;
    at = end - 1;
    if (token.single_word && !standsAlone(text, start, end)) continue;
    if (token.lstrip) while (start > kept && SPACE.test(text[start - 1]!)) start--;
    if (token.rstrip) while (end < text.length && SPACE.test(text[end]!)) end++;
    keep(start);
    sections.push(token.id);
    kept = end;
  }
  keep(text.length);
  return sections;
}

/** Whether a token is looked for in the normalized text. */
export function isNormalized({ normalized, special = false }: AddedTokenJson): boolean {
  return normalized ?? !special;
}

/** Cuts texts at added tokens, and normalizes what lies between. */
export function createAddedTokens(tokens: readonly AddedTokenJson[], normalize: Normalizer | undefined): AddedTokens {
  const raw = tableOf(
    tokens.filter((token) => !isNormalized(token)),
    (content) => content,
  );
  const change = normalize ?? ((text: string) => text);
  const later = tableOf(tokens.filter(isNormalized), change);
  const within = (section: Section): Section[] => {
    if (typeof section === 'number') return [section];
    return cutOut({ ...section, text: change(section.text) }, later);
  };
  return (text) => cutOut({ text, first: true }, raw).flatMap(within);
}

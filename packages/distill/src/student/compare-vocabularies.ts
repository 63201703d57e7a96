// Distributions of the next token can be compared where both models mean the same by each token.
import type { LanguageModel } from '@pith/model';
import { PithError } from '@pith/tensor-core';

/** How two vocabularies differ. */
export interface VocabularyComparison {
  /** True where every id stands for the same token in both, as far as the models tell. */
  readonly same: boolean;
  /** What differs, in words; empty where nothing does. */
  readonly difference: string;
  /** Share of the given tokens whose text is a token of the other vocabulary too, 0 to 1; null where a tokenizer is missing. */
  readonly share: number | null;
}

/**
 * Compares the vocabularies of a student and a teacher. Without two tokenizers only the sizes are compared.
 *
 * @param ids Tokens of the text, by the student's tokenizer.
 */
export function compareVocabularies(
  student: Pick<LanguageModel, 'config' | 'tokenizer'>,
  teacher: Pick<LanguageModel, 'config' | 'tokenizer'>,
  ids: Iterable<number>,
): VocabularyComparison {
  const sizes = [student.config.vocabularySize, teacher.config.vocabularySize] as const;
  const size = sizes[0] === sizes[1] ? '' : `${sizes[0]} tokens (student) and ${sizes[1]} (teacher)`;
  const [own, other] = [student.tokenizer?.tokenOf, teacher.tokenizer?.tokenOf];
  if (own === undefined || other === undefined) return { same: size === '', difference: size, share: null };
  const limit = Math.max(student.tokenizer!.size, teacher.tokenizer!.size);
  let differing = 0;
  let example = '';
  const theirs = new Set<string>();
  for (let id = 0; id < limit; id++) {
    const [a, b] = [own(id), other(id)];
    if (b !== undefined) theirs.add(b);
    if (a === b) continue;
    differing += 1;
    if (example === '')
      example = `token ${id} is ${JSON.stringify(a ?? null)} (student) and ${JSON.stringify(b ?? null)} (teacher)`;
  }
  let tokens = 0;
  let mapped = 0;
  for (const id of ids) {
    tokens += 1;
    const token = own(id);
    if (token !== undefined && theirs.has(token)) mapped += 1;
  }
  const words = differing === 0 ? '' : `${differing} tokens, first ${example}`;
  return {
    same: size === '' && words === '',
    difference: [size, words].filter((part) => part !== '').join('; '),
    share: tokens === 0 ? null : mapped / tokens,
  };
}

/**
 * Refuses a teacher whose tokens are not those of the student.
 *
 * @param windows The text, by the student's tokenizer.
 * @throws PithError `DISTILL_VOCABULARY` with the share of the text that maps.
 */
export function requireSameVocabulary(
  student: Pick<LanguageModel, 'config' | 'tokenizer'>,
  teacher: Pick<LanguageModel, 'config' | 'tokenizer'>,
  windows: readonly Int32Array[],
): void {
  const tokens = function* () {
    for (const window of windows) yield* window;
  };
  const { same, difference, share } = compareVocabularies(student, teacher, tokens());
  if (same) return;
  const text = share === null ? '' : `; ${(100 * share).toFixed(1)}% of the text's tokens exist in both`;
  throw new PithError(
    'DISTILL_VOCABULARY',
    `distill: student and teacher must have one vocabulary, they differ in ${difference}${text}; take a student with the ` +
      "teacher's tokenizer, for example layers of the teacher itself",
    {
      details: {
        difference,
        share,
        studentSize: student.config.vocabularySize,
        teacherSize: teacher.config.vocabularySize,
      },
    },
  );
}

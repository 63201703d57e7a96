import { describe, expect, it } from 'vitest';
import { requireSameVocabularies } from './check-vocabularies.ts';
import type { StageSource } from './stage-source.ts';
import type { Step } from './technique.ts';

const source = (words: readonly string[]) =>
  ({
    model: {
      config: { vocabularySize: words.length },
      tokenizer: { size: words.length, tokenOf: (id: number) => words[id] },
    },
  }) as unknown as StageSource;

const step = (id: string, from: string, teachers: readonly string[]) => ({ id, from, teachers }) as unknown as Step;

const sources = new Map([
  ['source', source(['a', 'b', 'c', 'd'])],
  ['same', source(['a', 'b', 'c', 'd'])],
  ['other', source(['a', 'b', 'x', 'y'])],
]);
const windows = [Int32Array.of(0, 1, 2, 0)];

describe('requireSameVocabularies', () => {
  it('looks through the stages at the models that they start from', () => {
    const steps = [step('small', 'source', []), step('taught', 'small', ['same'])];
    expect(() => requireSameVocabularies({ steps, sources }, () => windows)).not.toThrow();
  });

  it('says how much of the text maps', () => {
    const steps = [step('small', 'source', []), step('taught', 'small', ['same', 'other'])];
    expect(() => requireSameVocabularies({ steps, sources }, () => windows)).toThrow(/75\.0% of the text's tokens/);
  });

  it('knows a teacher that is a stage', () => {
    const steps = [step('teacher', 'other', []), step('taught', 'source', ['teacher'])];
    expect(() => requireSameVocabularies({ steps, sources }, () => windows)).toThrow(
      expect.objectContaining({ code: 'DISTILL_VOCABULARY' }),
    );
  });
});

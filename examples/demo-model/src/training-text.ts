// The text that the model and its tokenizer learn from.
import { drawFrom, writePages } from './pages.ts';
import { texts, tokenizer } from './settings.ts';

/** All pages of the training text. */
export function trainingPages(): string[] {
  return writePages(drawFrom(texts.training.seed), texts.training.characters);
}

/** The first pages, which the tokenizer is learnt from. */
export function tokenizerSample(pages: readonly string[]): string[] {
  let characters = 0;
  return pages.filter((page) => (characters += page.length) <= tokenizer.characters);
}

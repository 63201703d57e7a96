// How texts become files and training data: a text is a line, some lines make a page, and the model is taught that a page
// begins with BOS and ends with EOS.
import type { Tokenizer } from '@pith/model';
import { randomStream } from '@pith/tensor-core';
import type { Draw } from './grammar/expand.ts';
import { writeTexts } from './grammar/demo-grammar.ts';

/** The draws of one seed. */
export function drawFrom(seed: number): Draw {
  const stream = randomStream(seed, 'text');
  return (count) => stream.below(count);
}

/** Texts as one file: one text a line. */
export function writeFileText(draw: Draw, characters: number): string {
  return writeTexts(draw, characters).join('\n') + '\n';
}

/** Texts in pages of one to many lines: after each line, one page in three ends. */
export function writePages(draw: Draw, characters: number): string[] {
  const pages: string[] = [];
  let page: string[] = [];
  for (const text of writeTexts(draw, characters)) {
    page.push(text);
    if (draw(3) === 0) {
      pages.push(page.join('\n'));
      page = [];
    }
  }
  if (page.length > 0) pages.push(page.join('\n'));
  return pages;
}

/** All pages as one run of tokens, each page between BOS and EOS. */
export function tokenizePages(pages: readonly string[], tokenizer: Tokenizer, bos: number, eos: number): Int32Array {
  const parts = pages.map((page) => tokenizer.encode(page));
  const tokens = new Int32Array(parts.reduce((sum, part) => sum + part.length + 2, 0));
  let at = 0;
  for (const part of parts) {
    tokens[at] = bos;
    tokens.set(part, at + 1);
    tokens[at + part.length + 1] = eos;
    at += part.length + 2;
  }
  return tokens;
}

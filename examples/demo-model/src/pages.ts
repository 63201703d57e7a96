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

/** Options of {@link packPages}. */
export interface PackOptions {
  readonly bos: number;
  readonly eos: number;
  /** Tokens in a row. */
  readonly context: number;
  /** Decides where the rest of a cut page begins a row. */
  readonly draw: Draw;
}

/**
 * Pages as rows of `context` tokens, one after the other, for `tokenWindows`, which puts BOS before each row. A row begins
 * with a page, so that BOS alone means a beginning; pages in a row are parted by EOS and BOS. What does not fit into the
 * row is dropped, but for one time in four, when it begins the next row: a model that is evaluated on windows of a long
 * text begins in the middle too.
 */
export function packPages(pages: readonly string[], tokenizer: Tokenizer, options: PackOptions): Int32Array {
  const { bos, eos, context, draw } = options;
  const rows: number[] = [];
  let row: number[] = [];
  for (const page of pages) {
    if (row.length > 0) row.push(bos);
    row.push(...tokenizer.encode(page), eos);
    while (row.length >= context) {
      rows.push(...row.slice(0, context));
      row = draw(4) === 0 ? row.slice(context) : [];
    }
  }
  return Int32Array.from(rows);
}

import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createJournal, readJournal, reopenJournal, type JournalHeader } from './journal.ts';

const digest = (digit: string): string => digit.repeat(64);
const header: JournalHeader = {
  kind: 'run',
  journal: 1,
  run: 'r1',
  plan: digest('a'),
  versions: { pith: '0.1.0' },
  source: [{ name: 'model.safetensors', bytes: 10, modified: 1.5, sha256: digest('b') }],
  started: '2026-01-01T00:00:00.000Z',
};
const unit = (id: string) => ({
  unit: id,
  read: { name: id, leafBytes: 4, leaves: [digest('c')] },
  wrote: [{ name: `${id}_packed`, leafBytes: 2, leaves: [digest('d'), digest('e')] }],
});

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pith-journal-'));
  path = join(directory, 'journal.jsonl');
});
afterEach(() => rmSync(directory, { recursive: true }));

function write(units: readonly string[]): void {
  const journal = createJournal(path, header);
  for (const id of units) journal.append(unit(id));
  journal.close();
}

describe('journal', () => {
  it('is read back as it was written', () => {
    write(['x', 'y']);
    const content = readJournal(path)!;
    expect(content.header).toEqual(header);
    expect([...content.finished.keys()]).toEqual(['x', 'y']);
    expect(content.finished.get('y')).toEqual({ kind: 'unit', ...unit('y') });
  });

  it('is absent where there is no file and where the first line is torn', () => {
    expect(readJournal(path)).toBeUndefined();
    writeFileSync(path, JSON.stringify(header).slice(0, 40));
    expect(readJournal(path)).toBeUndefined();
  });

  it('survives being cut anywhere: whole lines count, and appending goes on after the last of them', () => {
    write(['x', 'y', 'z']);
    const bytes = readFileSync(path);
    const firstLine = bytes.indexOf(10) + 1;
    for (let length = firstLine; length <= bytes.length; length++) {
      writeFileSync(path, bytes);
      truncateSync(path, length);
      const wholeLines = bytes.subarray(0, length).toString().split('\n').length - 2;
      const content = readJournal(path)!;
      expect(content.finished.size, `cut at ${length}`).toBe(wholeLines);
      const journal = reopenJournal(path, content);
      journal.append(unit('after'));
      journal.close();
      const again = readJournal(path)!;
      expect([...again.finished.keys()]).toEqual([...['x', 'y', 'z'].slice(0, wholeLines), 'after']);
      expect(again.validBytes).toBe(readFileSync(path).length);
    }
  });

  it('stops believing at the first line that is not one of its own', () => {
    write(['x']);
    appendFileSync(path, `{"kind":"unit","unit":"bad"}\n${JSON.stringify({ kind: 'unit', ...unit('y') })}\n`);
    expect([...readJournal(path)!.finished.keys()]).toEqual(['x']);
  });

  it('keeps the last accepted state of the source', () => {
    const journal = createJournal(path, header);
    const touched = [{ ...header.source[0]!, modified: 2 }];
    journal.touch(touched);
    expect(journal.source).toEqual(touched);
    journal.close();
    expect(readJournal(path)!.source).toEqual(touched);
  });
});

// The journal of a run: JSON lines, only ever appended to. The first line binds the run to its source, plan and versions;
// each further line is a finished unit with the hashes of what it read and wrote. A run that was killed may leave a
// torn last line. Everything from the first unreadable line on is cut off when the journal is opened again: those units
// are done once more. That a unit's line is here does not prove that its bytes reached the disk, so a resumed run hashes
// the bytes again before it believes the line.
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { PithError } from '@pith/tensor-core';
import { z } from 'zod';
import { WeightErrorSchema } from '../receipt/schema.ts';

const Digest = z.string().regex(/^[0-9a-f]{64}$/);

const SourceFile = z.strictObject({
  name: z.string(),
  bytes: z.number().int().nonnegative(),
  modified: z.number(),
  /** Of the whole file, or of the header alone where the rest are tensors. */
  sha256: Digest,
});

const Header = z.strictObject({
  kind: z.literal('run'),
  journal: z.literal(1),
  run: z.string(),
  plan: Digest,
  versions: z.record(z.string(), z.string()),
  source: z.array(SourceFile),
  started: z.string(),
});

const Leaves = z.strictObject({
  name: z.string(),
  leafBytes: z.number().int().positive(),
  /** Digests of the leaves in order. */
  leaves: z.array(Digest),
});

const Unit = z.strictObject({
  kind: z.literal('unit'),
  /** Name of the source tensor. */
  unit: z.string(),
  read: Leaves,
  wrote: z.array(Leaves),
  error: WeightErrorSchema.exactOptional(),
});

/** The same source with other modification times, after its content was compared. */
const Touched = z.strictObject({ kind: z.literal('source'), source: z.array(SourceFile) });

const Line = z.discriminatedUnion('kind', [Header, Unit, Touched]);

/** A file of the source as a run found it. */
export type SourceFileState = z.infer<typeof SourceFile>;
/** First line of a journal. */
export type JournalHeader = z.infer<typeof Header>;
/** Digests of one tensor's leaves. */
export type TensorLeaves = z.infer<typeof Leaves>;
/** A finished unit: the leaves that it read and wrote, in the order of the plan, and how well the weight survived. */
export type JournalUnit = z.infer<typeof Unit>;

/** A journal open for appending. */
export interface Journal {
  readonly header: JournalHeader;
  /** The source as it was last accepted. */
  readonly source: readonly SourceFileState[];
  /** Units that earlier runs finished, by id. */
  readonly finished: ReadonlyMap<string, JournalUnit>;
  /** Appends a finished unit. */
  append(unit: Omit<JournalUnit, 'kind'>): void;
  /** Records new modification times of an unchanged source. */
  touch(source: readonly SourceFileState[]): void;
  close(): void;
}

/** What a journal file says, and how many of its bytes are whole lines. */
export interface JournalContent {
  readonly header: JournalHeader;
  readonly source: readonly SourceFileState[];
  readonly finished: ReadonlyMap<string, JournalUnit>;
  readonly validBytes: number;
}

/** Reads a journal; undefined when there is none, or not even a whole first line. */
export function readJournal(path: string): JournalContent | undefined {
  if (!existsSync(path)) return undefined;
  const bytes = readFileSync(path);
  const finished = new Map<string, JournalUnit>();
  let header: JournalHeader | undefined;
  let source: readonly SourceFileState[] = [];
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(10, start);
    if (end < 0) break;
    const line = parseLine(bytes.toString('utf8', start, end));
    if (line === undefined || (header === undefined) !== (line.kind === 'run')) break;
    if (line.kind === 'run') {
      header = line;
      source = line.source;
    } else if (line.kind === 'source') {
      source = line.source;
    } else {
      finished.set(line.unit, line);
    }
    start = end + 1;
  }
  return header === undefined ? undefined : { header, source, finished, validBytes: start };
}

function parseLine(text: string): z.infer<typeof Line> | undefined {
  try {
    const result = Line.safeParse(JSON.parse(text));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}

/** Begins a journal; the first line is on the disk when this returns. */
export function createJournal(path: string, header: JournalHeader): Journal {
  const fd = openSync(path, 'w');
  writeLine(fd, path, header);
  fsyncSync(fd);
  return openJournal(fd, path, { header, source: header.source, finished: new Map(), validBytes: 0 });
}

/** Opens a journal that {@link readJournal} has read, cutting off what is not whole. */
export function reopenJournal(path: string, content: JournalContent): Journal {
  const fd = openSync(path, 'r+');
  ftruncateSync(fd, content.validBytes);
  closeSync(fd);
  return openJournal(openSync(path, 'a'), path, content);
}

function openJournal(fd: number, path: string, content: JournalContent): Journal {
  let source = content.source;
  let open = true;
  return {
    header: content.header,
    finished: content.finished,
    get source() {
      return source;
    },
    append: (unit) => writeLine(fd, path, { kind: 'unit', ...unit }),
    touch: (next) => {
      writeLine(fd, path, { kind: 'source', source: next });
      source = next;
    },
    close: () => {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

function writeLine(fd: number, path: string, line: unknown): void {
  const bytes = Buffer.from(JSON.stringify(line) + '\n');
  const written = writeSync(fd, bytes);
  if (written !== bytes.length) {
    throw new PithError(
      'DISK_FULL',
      `journal ${path}: wrote ${written} of ${bytes.length} bytes; make room and run again`,
      {
        details: { path },
      },
    );
  }
}

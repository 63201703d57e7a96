// One process at a time in one directory. Each contender puts down a file of its own (`lock-<token>`, holding who it is), then
// looks whether anyone else's is there: of two, the later one always sees the earlier one, so that two never hold the
// lock at once. Files of processes that are gone are removed; since each file has one owner for ever, nobody can remove
// a live one by mistake. When two start in the same moment both step back and try again after a random while.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { PithError } from '@pith/tensor-core';

/** A held lock. */
export interface Lock {
  /** Gives the lock back. Safe to call twice. */
  release(): Promise<void>;
}

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process started, where the system tells it: a process id alone may have been given out again. */
  readonly processStart: string | null;
}

const PREFIX = 'lock-';
const ATTEMPTS = 6;
const LONGEST_WAIT_MS = 60;

/**
 * Takes the lock of a working directory, which must exist.
 *
 * @throws PithError `OUTPUT_LOCKED` when a running process holds it.
 */
export async function acquireLock(directory: string): Promise<Lock> {
  const mine = join(directory, `${PREFIX}${randomUUID()}`);
  const holder: Holder = { pid: process.pid, host: hostname(), processStart: processStart(process.pid) };
  const release = (): Promise<void> => rm(mine, { force: true });
  for (let attempt = 1; ; attempt++) {
    await writeFile(`${mine}.new`, JSON.stringify(holder));
    await rename(`${mine}.new`, mine);
    let other: Other | undefined;
    try {
      other = await findOther(directory, mine);
    } catch (error) {
      await release();
      throw error;
    }
    if (other === undefined) return { release };
    await release();
    if (attempt === ATTEMPTS) throw lockedError(other);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * LONGEST_WAIT_MS));
  }
}

interface Other {
  readonly path: string;
  readonly holder: Holder;
}

/** Another contender that may be running; those that are not are cleared away. */
async function findOther(directory: string, mine: string): Promise<Other | undefined> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if (!name.startsWith(PREFIX) || name.endsWith('.new') || path === mine) continue;
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    // A file appears by rename, complete; an unreadable one was torn by a power failure.
    const holder = parseHolder(text);
    if (holder !== undefined && mayRun(holder)) return { path, holder };
    await rm(path, { force: true });
  }
  return undefined;
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value = JSON.parse(text) as Partial<Holder> | null;
    if (typeof value?.pid !== 'number' || typeof value.host !== 'string') return undefined;
    return { pid: value.pid, host: value.host, processStart: value.processStart ?? null };
  } catch {
    return undefined;
  }
}

/** False where the process is known to be gone; a process of another host cannot be judged from here. */
function mayRun(holder: Holder): boolean {
  if (holder.host !== hostname()) return true;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    // EPERM: it runs, as someone else.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const start = processStart(holder.pid);
  return start === null || holder.processStart === null || start === holder.processStart;
}

/** Start time of a process in clock ticks since boot, with the boot's id; null where the system has no /proc. */
function processStart(pid: number): string | null {
  try {
    // The command name, second field, may hold spaces and parentheses: count from its last closing one.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot}:${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  } catch {
    return null;
  }
}

function lockedError({ path, holder }: Other): PithError {
  const elsewhere = holder.host !== hostname();
  return new PithError(
    'OUTPUT_LOCKED',
    `output: another run is writing it, process ${holder.pid}${elsewhere ? ` on ${holder.host}` : ''}; ` +
      (elsewhere ? `wait for it, or delete ${path} when it is gone` : 'wait for it or stop it, then run again'),
    { details: { lock: path, pid: holder.pid } },
  );
}

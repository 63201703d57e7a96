// How much each column of a tensor counts while it is quantized: what `--imatrix` names or `--calibration` measured, fitted to
// the tensors of the file.
import { stat } from 'node:fs/promises';
import { readImatrix, type Imatrix } from '@pith/checkpoint';
import type { GgufTensorSource } from '@pith/model';
import { looksAtImportance, mixtureNeedsImportance, type ChosenType } from '@pith/quant';
import { fileBytes } from '@pith/tensor-core/node';
import type { PlanProblem } from '../../plan/types.ts';
import { hashFile } from '../../run/hash-file.ts';

/** What a file says, and which file it was. */
export interface ImportanceFile {
  readonly imatrix: Imatrix;
  /** For the receipt: the file by its content. */
  readonly facts: { readonly bytes: number; readonly sha256: string };
}

/** Importances of the tensors of an export. */
export interface FittedImportance {
  /** f32 by tensor: a number for each column, or for each expert and column. */
  readonly byTensor: ReadonlyMap<string, Float32Array>;
  readonly notices: readonly string[];
  readonly problems: readonly PlanProblem[];
}

/**
 * Reads the file that `--imatrix` names.
 *
 * @throws PithError `FILE_READ_FAILED`, and those of `readImatrix`.
 */
export async function readImportance(path: string): Promise<ImportanceFile> {
  const source = await fileBytes(path);
  try {
    const imatrix = await readImatrix(source, path);
    const { size } = await stat(path);
    return { imatrix, facts: { bytes: size, sha256: await hashFile(path, size) } };
  } finally {
    await source.close();
  }
}

/**
 * Finds the importance of each tensor whose type has a use for one; all that do not fit are told at once.
 *
 * @param flag where the entries come from, for messages.
 */
export function fitImportance(
  { entries }: Pick<Imatrix, 'entries'>,
  sources: readonly GgufTensorSource[],
  types: ReadonlyMap<string, ChosenType>,
  flag = '--imatrix',
): FittedImportance {
  const byTensor = new Map<string, Float32Array>();
  const missing: string[] = [];
  const problems: PlanProblem[] = [];
  let known = 0;
  for (const { name, shape } of sources) {
    const own = entries.get(name)?.meanSquares;
    const chosen = types.get(name);
    if (own !== undefined) known += 1;
    if (chosen === undefined) continue;
    const columns = shape.at(-1)!;
    const expected = columns * (shape.length > 2 ? shape[0]! : 1);
    if (own !== undefined && own.length !== expected) {
      const wanted = shape.length > 2 ? `${columns} columns of ${shape[0]} experts` : `${columns} columns`;
      problems.push({
        code: 'IMATRIX_SIZE',
        name,
        message: `--imatrix: ${name} has ${wanted}, the file has ${own.length} numbers for it; measure it on this model`,
      });
    } else if (looksAtImportance(chosen.type)) {
      if (own === undefined) missing.push(name);
      else byTensor.set(name, own);
    }
  }
  if (known === 0) {
    const [first] = entries.keys();
    problems.push({
      code: 'IMATRIX_OTHER_MODEL',
      name: 'importance',
      message: `--imatrix: none of its ${entries.size} tensors is one of this model (its first is ${first}); measure it on this model`,
    });
  } else if (![...types.values()].some(({ type }) => looksAtImportance(type))) {
    problems.push({
      code: 'OPTION_UNUSED',
      name: flag === '--imatrix' ? 'importance' : 'calibration',
      message: `${flag}: no type of this variant has a use for it; leave it out, or choose a smaller variant`,
    });
  }
  return { byTensor, notices: known === 0 ? [] : noticesOf(missing, entries.size - known), problems };
}

/**
 * Refuses tensors of one to three bits that have no importances, as llama-quantize does: all of them in one problem.
 *
 * @param variant for the message.
 * @param known tensors that have importances, and those that are kept as they are.
 * @param given true where importances were read or will be measured.
 */
export function missingImportance(
  variant: string,
  types: ReadonlyMap<string, ChosenType>,
  known: ReadonlySet<string>,
  given: boolean,
): PlanProblem[] {
  const missing = [...types].filter(([name, { type }]) => mixtureNeedsImportance(name, type) && !known.has(name));
  if (missing.length === 0) return [];
  const names = missing.slice(0, 4).map(([name, { type }]) => `${name} as ${type}`);
  const which = `${names.join(', ')}${missing.length > 4 ? ` and ${missing.length - 4} more` : ''}`;
  const remedy = given
    ? 'measure it on this model'
    : 'give a text (--calibration FILE) or a matrix of llama-imatrix (--imatrix FILE)';
  return [
    {
      code: 'IMPORTANCE_MISSING',
      name: 'importance',
      message: `gguf:${variant}: importances are needed for ${which}, got none; ${remedy}, or choose iq3_s or a larger variant`,
    },
  ];
}

function noticesOf(missing: readonly string[], foreign: number): string[] {
  const notices: string[] = [];
  if (missing.length > 0) {
    const [are, names] = [missing.length === 1 ? 'tensor is' : 'tensors are', missing.slice(0, 4).join(', ')];
    const more = missing.length > 4 ? ' and more' : '';
    notices.push(
      `${missing.length} ${are} quantized without importances, there are none for ${missing.length === 1 ? 'it' : 'them'}: ${names}${more}`,
    );
  }
  if (foreign > 0) {
    const are = foreign === 1 ? 'tensor of the importance matrix is' : 'tensors of the importance matrix are';
    notices.push(`${foreign} ${are} none of this model: nothing is done with them`);
  }
  return notices;
}

// Writes the evaluation and the calibration text beside the checkpoint.
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { drawFrom, writeFileText } from './pages.ts';
import { texts } from './settings.ts';

/** The folder of the demo model. */
export const folder = fileURLToPath(new URL('..', import.meta.url));

/** The text of eval.txt. */
export const evaluationText = (): string => fileText('evaluation');

/** The text of calibration.txt. */
export const calibrationText = (): string => fileText('calibration');

function fileText(name: 'evaluation' | 'calibration'): string {
  const { seed, characters } = texts[name];
  return writeFileText(drawFrom(seed), characters);
}

/** Writes both. */
export async function writeTextFiles(): Promise<void> {
  await writeFile(`${folder}/eval.txt`, evaluationText());
  await writeFile(`${folder}/calibration.txt`, calibrationText());
}

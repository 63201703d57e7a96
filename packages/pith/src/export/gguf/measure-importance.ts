// Importances from a calibration text: for each column of a linear of the blocks the mean of its squared inputs. The embedding
// and the output are not looked at, as llama-imatrix does not by default.
import type { ImatrixEntry } from '@pith/checkpoint';
import type { BlockPass, CalibrationMemoryPlan, GgufTensorSource } from '@pith/model';
import type { OpenModel } from '@pith/model/node';
import type { ExportContext, ExportRequest } from '../format.ts';
import { lookingPass, walkBlocks, walkMemory } from '../walk-blocks.ts';

/** Entries as they will be, before anything is measured: every column counts 1. */
export function unmeasuredImportance(
  { architecture }: OpenModel,
  sources: readonly GgufTensorSource[],
): Map<string, ImatrixEntry> {
  const columns = new Map(
    architecture.blocks.flatMap(({ linears }) => linears.map((one) => [one.name, one.inFeatures])),
  );
  const means = new Map([...columns].map(([name, count]) => [name, new Float32Array(count).fill(1)]));
  return entriesOf(sources, means);
}

/** Memory of the walk over the blocks. @throws PithError `MEMORY_TOO_SMALL`. */
export function importanceMemory(model: OpenModel, request: ExportRequest): CalibrationMemoryPlan {
  return walkMemory(model, request, measuring(new Map()));
}

/** Measures on the calibration text. */
export async function measureImportance(
  model: OpenModel,
  sources: readonly GgufTensorSource[],
  request: ExportRequest,
  context: ExportContext,
): Promise<Map<string, ImatrixEntry>> {
  const means = new Map<string, Float32Array>();
  await walkBlocks(model, request, context, measuring(means));
  return entriesOf(sources, means);
}

/** Looks at the squares of the inputs. */
const measuring = (means: Map<string, Float32Array>): BlockPass =>
  lookingPass('importance', 'norms', ({ linears, statistics }) => {
    for (const { name, inputGroup, inFeatures } of linears) {
      const { squares, tokens } = statistics.get(inputGroup)!;
      // An expert that no token reached: all columns count the same.
      means.set(
        name,
        tokens === 0 ? new Float32Array(inFeatures).fill(1) : Float32Array.from(squares!, (sum) => sum / tokens),
      );
    }
  });

/** By tensor of the file; experts one after the other. */
function entriesOf(
  sources: readonly GgufTensorSource[],
  means: ReadonlyMap<string, Float32Array>,
): Map<string, ImatrixEntry> {
  const entries = new Map<string, ImatrixEntry>();
  for (const { name, parts } of sources) {
    // The columns of a matrix that is turned round are no inputs of its linear.
    const own = parts.flatMap(({ name: from, section }) => (section?.turned ? [] : (means.get(from) ?? [])));
    if (own.length === 0 || own.length !== parts.length || !name.endsWith('.weight')) continue;
    const meanSquares = new Float32Array(own.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const mean of own) {
      meanSquares.set(mean, at);
      at += mean.length;
    }
    entries.set(name, { meanSquares, experts: own.length });
  }
  return entries;
}

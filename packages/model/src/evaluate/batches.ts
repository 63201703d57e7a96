// Windows in groups of batches, as the memory plan says.
import type { MemoryPlan } from '../run/memory-plan.ts';

/** Windows that are run together between two layers. */
export interface WindowGroup {
  /** Index of the first window. */
  readonly first: number;
  /** Windows of the text; the rest of the last batch is padding. */
  readonly count: number;
  /** Token ids per batch, [batch, context] row-major, padded with BOS. */
  readonly batches: readonly Int32Array[];
  /** The token that each row predicts, per batch [batch * context]; -1 at the last row of a window and in padding. */
  readonly targets: readonly Int32Array[];
}

/** Groups windows; the last batch of the last group may hold padding. */
export function* groupWindows(
  windows: readonly Int32Array[],
  { batch, batchesPerGroup }: Pick<MemoryPlan, 'batch' | 'batchesPerGroup'>,
): Generator<WindowGroup, void, undefined> {
  const context = windows[0].length;
  const bos = windows[0][0];
  const perGroup = batch * batchesPerGroup;
  for (let first = 0; first < windows.length; first += perGroup) {
    const members = windows.slice(first, first + perGroup);
    const batches: Int32Array[] = [];
    const targets: Int32Array[] = [];
    for (let from = 0; from < members.length; from += batch) {
      const ids = new Int32Array(batch * context).fill(bos);
      const wanted = new Int32Array(batch * context).fill(-1);
      members.slice(from, from + batch).forEach((window, i) => {
        ids.set(window, i * context);
        wanted.set(window.subarray(1), i * context);
      });
      batches.push(ids);
      targets.push(wanted);
    }
    yield { first, count: members.length, batches, targets };
  }
}

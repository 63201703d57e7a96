// Brings bytes to the disk while more are made, so that little is left to wait for at the end.

/** Output bytes after which the system is asked to bring them to the disk, while the work goes on. */
const SYNC_BYTES = 256e6;

/** Counts what is written and syncs now and then, one sync at a time. */
export interface BackgroundSync {
  /** So many bytes more were written. */
  wrote(bytes: number): void;
  /** Waits for a sync in hand. Throws the first failure of any. */
  settled(): Promise<void>;
}

/** @param sync brings to the disk what was written so far. */
export function backgroundSync(sync: () => Promise<void>): BackgroundSync {
  let bytes = 0;
  let running: Promise<void> | undefined;
  let failure: unknown;
  return {
    wrote: (more) => {
      bytes += more;
      if (bytes < SYNC_BYTES || running !== undefined) return;
      bytes = 0;
      running = sync()
        .catch((error: unknown) => {
          failure ??= error;
        })
        .finally(() => {
          running = undefined;
        });
    },
    settled: async () => {
      await running;
      if (failure !== undefined) throw failure;
    },
  };
}

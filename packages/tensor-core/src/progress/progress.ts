// What a long operation tells while it runs. Libraries emit events; how they look is up to the receiver.

/** One step of a long operation. */
export interface ProgressEvent {
  /** What is being done: `quantize`, `evaluate`, `verify`. */
  readonly phase: string;
  /** The unit in hand: a tensor, a layer, a window. */
  readonly item?: string;
  /** Units finished. */
  readonly done: number;
  /** Units in all. */
  readonly total: number;
  /** What a unit is, in the singular: `tensor`, `window`, `byte`, `step`. */
  readonly unit: string;
  /** Input bytes finished, where bytes measure the work. */
  readonly bytesDone?: number;
  /** Input bytes in all. */
  readonly bytesTotal?: number;
}

/** Receives progress events; must not throw. */
export type ProgressListener = (event: ProgressEvent) => void;

/** What every long operation accepts beside its own arguments. */
export interface RunOptions {
  /** Stops the operation at the next safe point with a `STOPPED` error. */
  readonly signal?: AbortSignal;
  /** Receives progress events. */
  readonly progress?: ProgressListener;
  /** Told in a sentence of what was done other than asked for; must not throw. */
  readonly notice?: (text: string) => void;
}

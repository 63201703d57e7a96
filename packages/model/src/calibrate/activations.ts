// Hidden states between two blocks: one slot per batch of windows, in memory or elsewhere.

/** Slots of f32 values. A slot is read after it was written, and may be written again. */
export interface ActivationStore {
  /** The values of a slot; do not write to them. */
  read(slot: number): Promise<Float32Array>;
  /** Takes over `values`. */
  write(slot: number, values: Float32Array): Promise<void>;
  /** Gives memory and files back. */
  dispose(): Promise<void>;
}

/** Slots in memory. */
export function memoryActivations(): ActivationStore {
  const slots = new Map<number, Float32Array>();
  return {
    read: (slot) => Promise.resolve(slots.get(slot)!),
    write: (slot, values) => {
      slots.set(slot, values);
      return Promise.resolve();
    },
    dispose: () => {
      slots.clear();
      return Promise.resolve();
    },
  };
}

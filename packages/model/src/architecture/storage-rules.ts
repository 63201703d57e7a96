// How checkpoints of an architecture differ from its table.

/** A stored tensor that holds the matrices of all experts: [experts, rows, columns]. */
export interface PackedExperts {
  /** Checkpoint name. */
  readonly name: string;
  /** [experts, rows, columns]. */
  readonly shape: readonly [number, number, number];
  /** The weights that it holds: those of one expert lie behind one another, rows `start` to `end` of each. */
  readonly weights: readonly {
    /** Index of the expert. */
    readonly expert: number;
    /** Name of the weight in the table. */
    readonly name: string;
    /** First of the expert's rows. */
    readonly start: number;
    /** One past the last of the expert's rows. */
    readonly end: number;
  }[];
}

/** How checkpoints differ from the table in names and forms. */
export interface StorageRules {
  /** The name in the table of a stored tensor; itself for most. */
  rename(name: string): string;
  /** Tensors that hold several weights of the table. */
  readonly packed: readonly PackedExperts[];
}

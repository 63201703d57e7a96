/** Absolute path of the folder with reference data, ending in a slash. */
export declare const sharedRoot: string;
/** False in a clone without the reference data: use `describe.skipIf(!hasShared)`. */
export declare const hasShared: boolean;
/** Absolute path of a file below the reference data. */
export declare function shared(path: string): string;

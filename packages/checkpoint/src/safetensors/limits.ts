// The caps on what a safetensors file may claim. All are checked before anything is allocated.

/** Largest header that is read, in bytes: the cap of the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Most axes of a tensor. No checkpoint comes near; it keeps shapes from being a way to spend memory. */
export const MAX_RANK = 32;

/** Longest tensor name in UTF-16 units. */
export const MAX_NAME_LENGTH = 4096;

/** Deepest nesting of a header's JSON: the header, a tensor, its list. */
export const MAX_HEADER_DEPTH = 3;

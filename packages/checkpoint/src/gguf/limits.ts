// The caps on what a GGUF file may claim. All are checked before anything is allocated.

/** Largest header that is read, in bytes: metadata, vocabularies included, and the list of tensors. */
export const MAX_HEADER_BYTES = 256 * 2 ** 20;

/** Most tensors. */
export const MAX_TENSORS = 2 ** 20;

/** Most metadata entries. */
export const MAX_METADATA_ENTRIES = 2 ** 16;

/** Longest key and longest tensor name, in bytes; the specification's own cap for keys. */
export const MAX_NAME_BYTES = 65_535;

/** Most axes of a tensor: what ggml can hold. */
export const MAX_AXES = 4;

/** Deepest nesting of arrays. Nothing that is written nests at all. */
export const MAX_ARRAY_DEPTH = 4;

/** Largest alignment of the data, in bytes. */
export const MAX_ALIGNMENT = 2 ** 20;

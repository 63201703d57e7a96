// Every tfjs kernel that a trace records.
import { ELEMENTWISE } from './elementwise.ts';
import { INDEXING } from './index-kernels.ts';
import { MOVEMENTS } from './move.ts';
import { PRODUCTS } from './matmul.ts';
import { REDUCTIONS } from './reduce.ts';
import type { KernelTable } from './kernel.ts';

/** Lowerings of all recorded kernels by their tfjs names. */
export const KERNELS: KernelTable = { ...ELEMENTWISE, ...REDUCTIONS, ...PRODUCTS, ...MOVEMENTS, ...INDEXING };

/** Names of the tfjs kernels that compile() records, in alphabetical order. */
export const COMPILED_KERNELS: readonly string[] = Object.freeze(Object.keys(KERNELS).sort());

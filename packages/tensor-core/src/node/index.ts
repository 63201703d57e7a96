// The part of tensor-core that needs Node: threads and files.
export { createKernelPool, SERIAL_JOB_BYTES, DEFAULT_POOL_BYTES, MAX_POOL_BYTES } from './kernel-pool.ts';
export type { KernelPool, KernelPoolOptions, JobOptions } from './kernel-pool.ts';
export type { CallStep, JobStep, KernelName, ReadStep, Sha256Step, StepResult, WriteStep } from './kernel-job.ts';
export { MemoryRegion } from './memory-region.ts';
export { cpuDevice } from './cpu-device.ts';
export type { CpuDeviceOptions } from './cpu-device.ts';
export { fileBytes, DEFAULT_READ_BYTES } from './file-bytes.ts';
export type { FileBytes, FileBytesOptions } from './file-bytes.ts';

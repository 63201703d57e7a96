// The part of distill that needs Node: files.
export { hashWeights, writeTeacherCache } from './teacher-cache-file.ts';
export type { TeacherCacheFile, TeacherCacheOptions } from './teacher-cache-file.ts';

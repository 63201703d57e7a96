export { sliceGroups } from './structure/slice-groups.ts';
export type { Slice, SliceGroup, UnitKind } from './structure/slice-groups.ts';
export { structureTransform } from './structure/structure-transform.ts';
export type { StructureOptions } from './structure/structure-config.ts';

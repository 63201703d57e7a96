import type { Feed, HeadAxis, LinearPart, LinearRole, LinearSpec } from './architecture.ts';

/** A linear of a block as its table is written: what it leaves out is the usual. */
export interface LinearRow extends Pick<LinearSpec, 'inFeatures' | 'outFeatures' | 'bias' | 'inputGroup'> {
  /** Relative to the block. */
  readonly module: string;
  readonly role: LinearRole;
  readonly parts?: readonly LinearPart[];
  readonly expert?: number;
  readonly shared?: boolean;
  readonly normBefore?: string | null;
  readonly fedBy?: readonly Feed[];
  readonly heads?: HeadAxis;
}

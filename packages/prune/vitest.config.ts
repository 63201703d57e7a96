import { packageTests } from '@pith-tooling/vitest';

export default packageTests();

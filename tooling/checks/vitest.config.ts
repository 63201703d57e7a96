import { packageTests } from '@pith-tooling/vitest';

export default packageTests({ testTimeout: 600_000, hookTimeout: 600_000 });

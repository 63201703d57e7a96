import { randomStream } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { tucker, tuckerTensor } from '@pith/lowrank';

// Three matrices [6, 8] as one tensor, and the two directions of rows and columns that serve all of them best.
const random = randomStream(1, 'example');
const data = Float64Array.from({ length: 3 * 6 * 8 }, () => random.normal());
const device = cpuDevice({ threads: 1 });
const found = await tucker({ shape: [3, 6, 8], data }, device, { ranks: [3, 2, 2] });
console.log(found.relativeError, (await tuckerTensor(found, device)).shape);
await device.dispose();

import { unknownValue } from './failure.ts';

/** Devices that this version can compute on. */
export const DEVICES: readonly string[] = ['cpu'];

/** Refuses a device that does not exist. */
export function knownDevice(device: string): string {
  if (!DEVICES.includes(device)) throw unknownValue('--device', device, DEVICES);
  return device;
}

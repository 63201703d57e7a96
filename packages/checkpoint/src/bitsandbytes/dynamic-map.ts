// The 256 values that bitsandbytes codes absolute maxima with (dynamic tree quantization, Dettmers 2015): a sign, a run of
// zeros that counts tenths, and a linear fraction. `create_dynamic_map(signed=True)` of bitsandbytes 0.50, in f32.

/** Values in ascending order. */
export const DYNAMIC_MAP: Float32Array = makeMap();

function makeMap(): Float32Array {
  const values: number[] = [0, 1];
  for (let exponent = 0; exponent < 7; exponent += 1) {
    const items = 2 ** exponent;
    const step = Math.fround(Math.fround(1 - Math.fround(0.1)) / items);
    // As torch.linspace does it: from the left for the first half of the boundaries, from the right for the second, product
    // and sum rounded once.
    const boundary = (i: number): number =>
      i < Math.floor((items + 1) / 2) ? Math.fround(Math.fround(0.1) + step * i) : Math.fround(1 - step * (items - i));
    for (let i = 0; i < items; i += 1) {
      const mean = Math.fround(Math.fround(boundary(i) + boundary(i + 1)) / 2);
      const value = Math.fround(Math.fround(10 ** (exponent - 6)) * mean);
      values.push(value, -value);
    }
  }
  return Float32Array.from(values).sort();
}

/** The code of the nearest value of the map; the lower of two that are as near. */
export function dynamicCode(value: number): number {
  let low = 0;
  let high = 255;
  while (low < high) {
    const middle = (low + high) >> 1;
    const between = Math.fround((DYNAMIC_MAP[middle]! + DYNAMIC_MAP[middle + 1]!) / 2);
    if (value > between) low = middle + 1;
    else high = middle;
  }
  return low;
}

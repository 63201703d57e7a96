// Matrices turned between row-major and the order of the column sweep, in tiles of registers.

/** f32 [rows, stride] to [columns, targetStride]. */
export function transposeF32(source: usize, rows: i32, columns: i32, stride: i32, target: usize, targetStride: i32): void {
  const pitch = <usize>stride << 2;
  const line = <usize>targetStride << 2;
  const fullRows = rows & ~3;
  const fullColumns = columns & ~3;
  // Sixteen rows at a time: whole cache lines of the target.
  for (let begin = 0; begin < fullRows; begin += 16) {
    const end = min(begin + 16, fullRows);
    for (let c = 0; c < fullColumns; c += 4) {
      let from = source + <usize>begin * pitch + (<usize>c << 2);
      let to = target + <usize>c * line + (<usize>begin << 2);
      for (let r = begin; r < end; r += 4) {
        const a = v128.load(from);
        const b = v128.load(from + pitch);
        const e = v128.load(from + 2 * pitch);
        const f = v128.load(from + 3 * pitch);
        const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
        const ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
        const ef0 = v128.shuffle<i32>(e, f, 0, 4, 1, 5);
        const ef1 = v128.shuffle<i32>(e, f, 2, 6, 3, 7);
        v128.store(to, v128.shuffle<i64>(ab0, ef0, 0, 2));
        v128.store(to + line, v128.shuffle<i64>(ab0, ef0, 1, 3));
        v128.store(to + 2 * line, v128.shuffle<i64>(ab1, ef1, 0, 2));
        v128.store(to + 3 * line, v128.shuffle<i64>(ab1, ef1, 1, 3));
        from += 4 * pitch;
        to += 16;
      }
    }
  }
  for (let r = 0; r < rows; r++) {
    for (let c = r < fullRows ? fullColumns : 0; c < columns; c++) {
      store<f32>(target + <usize>c * line + (<usize>r << 2), load<f32>(source + <usize>r * pitch + (<usize>c << 2)));
    }
  }
}

/** i8 [columns, stride], rows `rowBegin` to `rowEnd`, to [rowEnd, columns] row-major. */
export function transposeI8(source: usize, columns: i32, stride: i32, rowBegin: i32, rowEnd: i32, target: usize): void {
  const pitch = <usize>stride;
  const line = <usize>columns;
  const fullRows = rowBegin + ((rowEnd - rowBegin) & ~15);
  const fullColumns = columns & ~3;
  for (let r = rowBegin; r < fullRows; r += 16) {
    for (let c = 0; c < fullColumns; c += 4) {
      const from = source + <usize>c * pitch + <usize>r;
      const a = v128.load(from);
      const b = v128.load(from + pitch);
      const e = v128.load(from + 2 * pitch);
      const f = v128.load(from + 3 * pitch);
      const ab0 = i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const ab1 = i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      const ef0 = i8x16.shuffle(e, f, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const ef1 = i8x16.shuffle(e, f, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      const to = target + <usize>r * line + <usize>c;
      storeFour(to, line, v128.shuffle<i16>(ab0, ef0, 0, 8, 1, 9, 2, 10, 3, 11));
      storeFour(to + 4 * line, line, v128.shuffle<i16>(ab0, ef0, 4, 12, 5, 13, 6, 14, 7, 15));
      storeFour(to + 8 * line, line, v128.shuffle<i16>(ab1, ef1, 0, 8, 1, 9, 2, 10, 3, 11));
      storeFour(to + 12 * line, line, v128.shuffle<i16>(ab1, ef1, 4, 12, 5, 13, 6, 14, 7, 15));
    }
  }
  for (let r = rowBegin; r < rowEnd; r++) {
    for (let c = r < fullRows ? fullColumns : 0; c < columns; c++) {
      store<i8>(target + <usize>r * line + <usize>c, load<i8>(source + <usize>c * pitch + <usize>r));
    }
  }
}

// @ts-ignore: decorator
@inline
function storeFour(to: usize, line: usize, x: v128): void {
  v128.store32_lane(to, x, 0);
  v128.store32_lane(to + line, x, 1);
  v128.store32_lane(to + 2 * line, x, 2);
  v128.store32_lane(to + 3 * line, x, 3);
}

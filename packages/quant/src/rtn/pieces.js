/** Groups of a row: columns / size for groups, 1 otherwise. */
export function groupsPerRow(scheme, columns) {
    return scheme.granularity.kind === 'group' ? columns / scheme.granularity.size : 1;
}
/**
 * The tensors that hold a weight [rows, columns] under a scheme, in the order codes, scales, zeroPoints. The scheme
 * must fit the shape (see `fitScheme`).
 */
export function quantizedPieces(shape, scheme, storage) {
    const [rows, columns] = shape;
    const groups = groupsPerRow(scheme, columns);
    const perTensor = scheme.granularity.kind === 'tensor';
    const scaleShape = perTensor ? [1] : [rows, groups];
    const pieces = [codesPiece(rows, columns, scheme, storage)];
    pieces.push(piece('scales', scheme.scaleDType, scaleShape, scheme.scaleDType === 'f32' ? 4 : 2));
    if (scheme.kind === 'int' && !scheme.symmetric) {
        const packed = storage === 'packed' && !perTensor;
        const words = Math.ceil((rows * scheme.bits) / 32);
        if (packed)
            pieces.push(piece('zeroPoints', 'i32', [words, groups], 4));
        else
            pieces.push(piece('zeroPoints', 'i8', scaleShape, 1));
    }
    return pieces;
}
function codesPiece(rows, columns, scheme, storage) {
    if (scheme.kind === 'float')
        return piece('codes', scheme.dtype, [rows, columns], 1);
    if (storage === 'bytes')
        return piece('codes', 'i8', [rows, columns], 1);
    return piece('codes', 'i32', [rows, Math.ceil((columns * scheme.bits) / 32)], 4);
}
function piece(name, dtype, shape, bytesPerValue) {
    return { piece: name, dtype, shape, byteLength: shape.reduce((product, length) => product * length, bytesPerValue) };
}
//# sourceMappingURL=pieces.js.map
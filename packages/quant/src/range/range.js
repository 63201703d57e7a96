// Which part of the values' range the codes cover. Everything outside is clipped, everything inside rounded finer.
export {};
//# sourceMappingURL=range.js.map
// A device runs compiled programs. It is chosen once and handed down; only the umbrella looks for devices.

/** Element types that enter and leave a compiled program. */
export type HostDType = 'f32' | 'f64' | 'i32' | 'i64' | 'bool' | 'u8';

/** The JavaScript array of each {@link HostDType}; `bool` is one byte a value, 0 or 1. */
export interface HostArrays {
  /** Floats of 32 bits. */
  f32: Float32Array;
  /** Floats of 64 bits. */
  f64: Float64Array;
  /** Signed integers of 32 bits. */
  i32: Int32Array;
  /** Signed integers of 64 bits. */
  i64: BigInt64Array;
  /** A byte a value, 0 or 1. */
  bool: Uint8Array;
  /** Bytes. */
  u8: Uint8Array;
}

/** A dense row-major array in the memory of the host. */
export interface HostTensor<D extends HostDType = HostDType> {
  /** Type of the values. */
  readonly dtype: D;
  /** Length of each axis, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** `product(shape)` values. */
  readonly data: HostArrays[D];
}

/** Named tensors. */
export type HostTensors = Readonly<Record<string, HostTensor>>;

/** What a device is able to do. */
export interface DeviceLimits {
  /** Most bytes of one tensor. */
  readonly maxTensorBytes: number;
  /** Threads that a program may use. */
  readonly threads: number;
}

/** A program made ready on a device. */
export interface Executable {
  /** Names of the inputs, in order. */
  readonly inputs: readonly string[];
  /** Names of the outputs, in order. */
  readonly outputs: readonly string[];
  /**
   * Runs the program once. Inputs are read, not kept. With `into`, the named outputs are written to the given arrays,
   * whose data is overwritten.
   */
  run(inputs: HostTensors, into?: HostTensors): Promise<Record<string, HostTensor>>;
  /** Frees what the device holds for this program. Further runs fail with `EXECUTABLE_DISPOSED`. */
  dispose(): Promise<void>;
}

/** How a program is made ready. */
export interface DeviceCompileOptions {
  /** Most threads that it may use; those of the device when left out. */
  readonly threads?: number;
}

/** Something that compiles and runs programs. */
export interface Device {
  /** `cpu`, `webgpu`, `cuda:0`. */
  readonly name: string;
  /** What it is able to do. */
  readonly limits: DeviceLimits;
  /** Makes a serialized ONNX model (ModelProto) ready to run. */
  compile(model: Uint8Array, options?: DeviceCompileOptions): Promise<Executable>;
  /** Frees the device and every program compiled on it. */
  dispose(): Promise<void>;
}

/** A repository of the test hub. */
export interface HubServerRepository {
  /** Contents by path. */
  readonly files: Readonly<Record<string, Uint8Array | string>>;
  /** Only seen with the token. */
  readonly private?: boolean;
  /** Listed for all, files only with the token. */
  readonly gated?: boolean;
  /** Which files are stored as large ones; weights and what is over 100 kB when left out. */
  readonly lfs?: (path: string, bytes: Uint8Array) => boolean;
  /** Front matter of the model card, as the API tells it. */
  readonly cardData?: object;
}

/** What the test hub starts with. */
export interface HubServerOptions {
  readonly repositories?: Readonly<Record<string, HubServerRepository>>;
  /** The one token that is accepted. */
  readonly token?: string;
}

/** Something that goes wrong, at a file (`path`) or at a request to the hub (`route`). */
export interface HubFault {
  readonly path?: string;
  readonly route?: RegExp;
  /** How often; always when left out. Counted down. */
  times?: number;
  /** Answer with this status alone. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** With `route`: the body. */
  readonly body?: string;
  /** Break the connection after so many bytes of the body. */
  readonly cutAfter?: number;
  /** Send so many bytes of the body, and nothing more. */
  readonly stallAfter?: number;
  /** Change the first byte. */
  readonly corrupt?: boolean;
  /** Add bytes after the end. */
  readonly extraBytes?: number;
  /** Claim a length that is wrong by so much. */
  readonly lieBy?: number;
  /** Say nothing of the length. */
  readonly noLength?: boolean;
  /** Claim that a range begins elsewhere. */
  readonly shiftBy?: number;
  /** Send the whole file whatever range is asked for. */
  readonly ignoreRange?: boolean;
}

/** A request that came in. */
export interface HubRequest {
  /** The hub itself, or the host of large files. */
  readonly host: string;
  readonly method: string;
  readonly path: string;
  readonly authorization: string | null;
  readonly range: string | null;
}

/** A running test hub. */
export interface HubServer {
  /** For `HF_ENDPOINT`. */
  readonly endpoint: string;
  readonly requests: HubRequest[];
  /** Add to it what should go wrong; the first that fits is used. */
  readonly faults: HubFault[];
  /** Commits that were made. */
  readonly commits: { id: string; branch: string; summary: string; paths: string[] }[];
  /** Bytes of a file's content that were sent. */
  served(path: string): number;
  servedInAll(): number;
  /** Forgets requests and counts. */
  forget(): void;
  files(id: string): Map<string, Uint8Array>;
  isPrivate(id: string): boolean;
  /** The commit of every branch. */
  commit(id: string): string;
  addBranch(id: string, branch: string): void;
  /** Entries of a page of a listing. */
  setPageSize(size: number): void;
  close(): Promise<void>;
}

/** Starts a hub on this machine. */
export declare function startHub(options?: HubServerOptions): Promise<HubServer>;

// A hub on this machine: the part of the protocol of https://huggingface.co that Pith speaks, with a second server as the
// host of large files, and faults on demand. Small files are served by the hub itself, large ones by a redirect to the
// other host, whose requests must not carry the token.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

/** @typedef {import('./hub-server.d.ts').HubServer} HubServer */
/** @typedef {import('./hub-server.d.ts').HubServerOptions} HubServerOptions */
/** @typedef {import('./hub-server.d.ts').HubFault} HubFault */
/** @typedef {import('./hub-server.d.ts').HubRequest} HubRequest */
/** @typedef {{ files: Map<string, Buffer>, private: boolean, gated: boolean, lfs: (path: string, bytes: Buffer) => boolean, cardData?: object, refs: Map<string, string>, branches: Set<string> }} Repository */

const PAGE = 50;

/** Hashes each buffer once. @param {(bytes: Buffer) => string} hash */
const once = (hash) => {
  /** @type {WeakMap<Buffer, string>} */
  const known = new WeakMap();
  return (/** @type {Buffer} */ bytes) => {
    const value = known.get(bytes) ?? hash(bytes);
    known.set(bytes, value);
    return value;
  };
};
const sha256 = once((bytes) => createHash('sha256').update(bytes).digest('hex'));
const gitHash = once((bytes) => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex'));
/** @param {string} path @param {Buffer} bytes */
const isLarge = (path, bytes) => /\.(safetensors|gguf|bin|onnx)$/.test(path) || bytes.length > 100_000;

/** @param {Repository} repository */
function commitOf({ files }) {
  const hash = createHash('sha1');
  for (const [path, bytes] of [...files].sort()) hash.update(path).update(gitHash(bytes));
  return hash.digest('hex');
}

/** @param {import('node:http').IncomingMessage} request @returns {Promise<Buffer>} */
async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** @param {HubServerOptions} options @returns {Promise<HubServer>} */
export async function startHub({ repositories = {}, token } = {}) {
  /** @type {Map<string, Repository>} */
  const known = new Map();
  /** @type {HubRequest[]} */
  const requests = [];
  /** @type {Map<string, number>} */
  const served = new Map();
  /** @type {Map<string, Buffer>} */
  const uploaded = new Map();
  /** @type {HubFault[]} */
  const faults = [];
  const state = { pageSize: PAGE };

  for (const [id, { files, private: hidden = false, gated = false, lfs = isLarge, cardData }] of Object.entries(
    repositories,
  )) {
    known.set(id, {
      files: new Map(Object.entries(files).map(([path, bytes]) => [path, Buffer.from(bytes)])),
      private: hidden,
      gated,
      lfs,
      ...(cardData && { cardData }),
      refs: new Map(),
      branches: new Set(['main']),
    });
  }

  /** @param {import('node:http').ServerResponse} response @param {number} status @param {unknown} body @param {Record<string, string>} [headers] */
  const json = (response, status, body, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
    response.end(JSON.stringify(body));
  };
  /** @param {import('node:http').ServerResponse} response @param {number} status @param {string} code @param {string} message */
  const refuse = (response, status, code, message) =>
    json(response, status, { error: message }, { 'x-error-code': code, 'x-error-message': message });

  /**
   * Sends a file or a range of it, with the fault that is meant for it.
   * @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response
   * @param {string} path @param {Buffer} bytes @param {Record<string, string>} headers
   */
  const sendFile = (request, response, path, bytes, headers = {}) => {
    const at = faults.findIndex((fault) => fault.path === path && (fault.times ?? Infinity) > 0);
    const fault = faults[at];
    if (fault?.times !== undefined) fault.times--;
    if (fault?.status !== undefined) {
      response.writeHead(fault.status, fault.headers);
      response.end();
      return;
    }
    const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const ranged = match !== null && fault?.ignoreRange !== true;
    const start = ranged ? Number(match[1]) : 0;
    const end = ranged && match[2] !== '' ? Math.min(bytes.length, Number(match[2]) + 1) : bytes.length;
    let body = bytes.subarray(start, end);
    if (fault?.corrupt) {
      body = Buffer.from(body);
      body[0] = (body[0] ?? 0) ^ 0xff;
    }
    if (fault?.extraBytes) body = Buffer.concat([body, Buffer.alloc(fault.extraBytes)]);
    const total = bytes.length + (fault?.lieBy ?? 0);
    response.writeHead(ranged ? 206 : 200, {
      ...headers,
      'accept-ranges': 'bytes',
      etag: `"${sha256(bytes)}"`,
      ...(fault?.extraBytes || fault?.noLength
        ? {}
        : { 'content-length': String(body.length + (ranged ? 0 : (fault?.lieBy ?? 0))) }),
      ...(ranged && {
        'content-range': `bytes ${start + (fault?.shiftBy ?? 0)}-${end - 1 + (fault?.shiftBy ?? 0)}/${total}`,
      }),
      ...fault?.headers,
    });
    if (request.method === 'HEAD') return void response.end();
    const cut = fault?.cutAfter ?? fault?.stallAfter;
    const sent = cut === undefined ? body : body.subarray(0, cut);
    served.set(path, (served.get(path) ?? 0) + sent.length);
    if (cut === undefined) return void response.end(sent);
    if (fault?.stallAfter !== undefined) return void response.write(sent);
    // The connection breaks in the middle of the body.
    response.write(sent, () => setTimeout(() => response.destroy(), 5));
    return undefined;
  };

  /** @param {import('node:http').IncomingMessage} request @param {string} host */
  const record = (request, host) => {
    /** @type {HubRequest} */
    const entry = {
      host,
      method: request.method ?? 'GET',
      path: request.url ?? '',
      authorization: request.headers.authorization ?? null,
      range: request.headers.range ?? null,
    };
    requests.push(entry);
  };

  // The host of large files: an origin of its own.
  const storage = createServer((request, response) => {
    record(request, 'storage');
    const url = new URL(request.url ?? '/', 'http://storage');
    const [, kind, ...rest] = url.pathname.split('/').map(decodeURIComponent);
    if (kind === 'upload') {
      void bodyOf(request).then((bytes) => {
        const oid = rest[0] ?? '';
        if (url.searchParams.has('part')) {
          const part = `${oid}#${url.searchParams.get('part')}`;
          uploaded.set(part, bytes);
          response.writeHead(200, { etag: `"${sha256(bytes)}"` });
          return response.end();
        }
        if (sha256(bytes) !== oid) return response.writeHead(400).end();
        uploaded.set(oid, bytes);
        response.writeHead(200);
        return response.end();
      });
      return;
    }
    const [org, name, ...path] = rest;
    const file = known.get(`${org}/${name}`)?.files.get(path.join('/'));
    if (file === undefined || url.searchParams.get('signature') !== 'good') return void response.writeHead(403).end();
    sendFile(request, response, path.join('/'), file);
  });
  await new Promise((done) => storage.listen(0, '127.0.0.1', () => done(undefined)));
  const storagePort = /** @type {import('node:net').AddressInfo} */ (storage.address()).port;
  const storageUrl = `http://localhost:${storagePort}`;

  const hub = createServer((request, response) => {
    record(request, 'hub');
    void answer(request, response).catch((error) => json(response, 500, { error: String(error) }));
  });
  await new Promise((done) => hub.listen(0, '127.0.0.1', () => done(undefined)));
  const endpoint = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (hub.address()).port}`;

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  async function answer(request, response) {
    const url = new URL(request.url ?? '/', endpoint);
    const route = faults.find(
      (fault) => fault.route !== undefined && fault.route.test(url.pathname) && (fault.times ?? Infinity) > 0,
    );
    if (route !== undefined) {
      if (route.times !== undefined) route.times--;
      if (route.cutAfter !== undefined) return void response.destroy();
      response.writeHead(route.status ?? 500, { 'content-type': 'application/json', ...route.headers });
      return void response.end(route.body ?? '{}');
    }
    const authorized = token !== undefined && request.headers.authorization === `Bearer ${token}`;
    if (request.headers.authorization !== undefined && !authorized) {
      return json(response, 401, { error: 'Invalid credentials in Authorization header' });
    }
    const parts = url.pathname
      .split('/')
      .filter((part) => part !== '')
      .map(decodeURIComponent);
    if (url.pathname === '/api/repos/create') {
      if (!authorized) return json(response, 401, { error: 'Invalid username or password.' });
      const { name, organization, visibility } = JSON.parse((await bodyOf(request)).toString());
      const id = `${organization}/${name}`;
      if (known.has(id))
        return json(response, 409, { error: 'You already created this model repo', url: `${endpoint}/${id}` });
      known.set(id, {
        files: new Map(),
        private: visibility === 'private',
        gated: false,
        lfs: isLarge,
        refs: new Map(),
        branches: new Set(['main']),
      });
      return json(response, 200, { url: `${endpoint}/${id}`, id, name: id });
    }
    const api = parts[0] === 'api' && parts[1] === 'models';
    const [org, named] = api ? parts.slice(2) : parts;
    const id = `${org}/${(named ?? '').replace(/\.git$/, '')}`;
    const rest = parts.slice(api ? 4 : 2);
    const repository = known.get(id);
    if (repository === undefined || (repository.private && !authorized)) {
      return authorized
        ? refuse(response, 404, 'RepoNotFound', 'Repository not found')
        : refuse(response, 401, 'RepoNotFound', 'Invalid username or password.');
    }
    const commit = commitOf(repository);
    /** @param {string | undefined} revision */
    const exists = (revision) =>
      revision === 'HEAD' || revision === commit || (revision !== undefined && repository.branches.has(revision));
    if (api && rest.length === 0)
      return json(response, 200, {
        _id: '1',
        id,
        sha: commit,
        private: repository.private,
        cardData: repository.cardData,
      });
    if (api && rest[0] === 'revision') {
      if (!exists(rest[1])) return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${rest[1]}`);
      return json(response, 200, {
        _id: '1',
        id,
        sha: commit,
        private: repository.private,
        gated: repository.gated && 'auto',
        lastModified: '2026-01-01T00:00:00.000Z',
        cardData: repository.cardData,
      });
    }
    if (api && rest[0] === 'tree') {
      if (!exists(rest[1])) return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${rest[1]}`);
      const entries = [...repository.files].map(([path, bytes]) => ({
        type: 'file',
        oid: gitHash(bytes),
        size: bytes.length,
        path,
        ...(repository.lfs(path, bytes) && { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } }),
      }));
      const from = Number(url.searchParams.get('cursor') ?? 0);
      const next = from + state.pageSize;
      url.searchParams.set('cursor', String(next));
      return json(
        response,
        200,
        entries.slice(from, next),
        next < entries.length ? { link: `<${endpoint}${url.pathname}${url.search}>; rel="next"` } : {},
      );
    }
    if (api && rest[0] === 'branch' && request.method === 'POST') {
      if (!authorized) return json(response, 403, { error: 'Forbidden' });
      if (repository.branches.has(rest[1] ?? '')) return json(response, 409, { error: 'Reference already exists' });
      repository.branches.add(rest[1] ?? '');
      return json(response, 200, {});
    }
    if (api && rest[0] === 'preupload' && request.method === 'POST') {
      if (!authorized) return json(response, 403, { error: 'You are not allowed to write' });
      const { files } = JSON.parse((await bodyOf(request)).toString());
      return json(response, 200, {
        files: files.map((/** @type {{ path: string, size: number }} */ { path, size }) => ({
          path,
          uploadMode: repository.lfs(path, Buffer.alloc(Math.min(size, 100_001))) ? 'lfs' : 'regular',
          shouldIgnore: false,
        })),
      });
    }
    if (rest.join('/') === 'info/lfs/objects/batch') {
      if (!authorized) return json(response, 403, { error: 'You are not allowed to write' });
      const { objects } = JSON.parse((await bodyOf(request)).toString());
      return json(response, 200, {
        transfer: 'basic',
        objects: objects.map((/** @type {{ oid: string, size: number }} */ { oid, size }) => ({
          oid,
          size,
          ...(!uploaded.has(oid) && { actions: { upload: { href: `${storageUrl}/upload/${oid}`, header: {} } } }),
        })),
      });
    }
    if (api && rest[0] === 'commit' && request.method === 'POST') {
      if (!authorized) return json(response, 403, { error: 'You are not allowed to write' });
      if (!exists(rest[1])) return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${rest[1]}`);
      const lines = (await bodyOf(request))
        .toString()
        .split('\n')
        .map((line) => JSON.parse(line));
      for (const { key, value } of lines) {
        if (key === 'file') repository.files.set(value.path, Buffer.from(value.content, value.encoding ?? 'utf8'));
        if (key === 'lfsFile') {
          const bytes = uploaded.get(value.oid);
          if (bytes === undefined) return json(response, 400, { error: `LFS object ${value.oid} was not uploaded` });
          repository.files.set(value.path, bytes);
        }
      }
      const { summary } = lines.find(({ key }) => key === 'header')?.value ?? {};
      commits.push({
        id,
        branch: rest[1] ?? '',
        summary,
        paths: lines.flatMap(({ key, value }) => (key === 'header' ? [] : [value.path])),
      });
      const oid = commitOf(repository);
      return json(response, 200, { success: true, commitOid: oid, commitUrl: `${endpoint}/${id}/commit/${oid}` });
    }
    if (!api && (rest[0] === 'resolve' || rest[0] === 'raw')) {
      if (!exists(rest[1])) return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${rest[1]}`);
      const path = rest.slice(2).join('/');
      const bytes = repository.files.get(path);
      if (bytes === undefined) return refuse(response, 404, 'EntryNotFound', 'Entry not found');
      if (repository.gated && !authorized) {
        return refuse(response, 401, 'GatedRepo', `Access to model ${id} is restricted.`);
      }
      const headers = { 'x-repo-commit': commit, 'x-linked-size': String(bytes.length) };
      if (!repository.lfs(path, bytes)) return sendFile(request, response, path, bytes, headers);
      const place = [org, named, ...path.split('/')].map((part) => encodeURIComponent(part ?? '')).join('/');
      response.writeHead(302, {
        ...headers,
        location: `${storageUrl}/files/${place}?signature=good`,
        'x-linked-etag': `"${sha256(bytes)}"`,
      });
      return void response.end();
    }
    return refuse(response, 404, 'EntryNotFound', 'Entry not found');
  }

  /** @type {HubServer['commits']} */
  const commits = [];
  return {
    endpoint,
    requests,
    faults,
    commits,
    served: (path) => served.get(path) ?? 0,
    servedInAll: () => [...served.values()].reduce((sum, bytes) => sum + bytes, 0),
    forget: () => {
      requests.length = 0;
      served.clear();
    },
    files: (id) => known.get(id)?.files ?? new Map(),
    isPrivate: (id) => known.get(id)?.private === true,
    commit: (id) => commitOf(/** @type {Repository} */ (known.get(id))),
    addBranch: (id, branch) => void known.get(id)?.branches.add(branch),
    setPageSize: (size) => {
      state.pageSize = size;
    },
    close: async () => {
      for (const server of [hub, storage]) {
        server.closeAllConnections();
        await new Promise((done) => server.close(done));
      }
    },
  };
}

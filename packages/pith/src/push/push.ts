// An artefact onto a hub: checked against its receipt, with a card made from it, as one commit.
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createHubClient, isRepositoryId, isRevision, readHubLicence, type HubLicence } from '@pith/checkpoint';
import { readHubSettings, uploadFiles, type HubUpload } from '@pith/checkpoint/node';
import { isPithError, PithError, throwIfStopped, type RunOptions } from '@pith/tensor-core';
import { readReceipt, RECEIPT_NAME, receiptOfFile } from '../receipt/receipt.ts';
import { REPORT_NAME } from '../report/save-report.ts';
import type { Receipt } from '../receipt/types.ts';
import { verify } from '../verify/verify.ts';
import { modelCard } from './model-card.ts';

/** What {@link push} is asked for. */
export interface PushOptions extends RunOptions {
  /** Makes the repository private; refuses one that exists and is public. */
  readonly private?: boolean;
  /** Branch, made where it does not exist; `main` when left out. */
  readonly revision?: string;
  /** Title of the commit. */
  readonly message?: string;
  /** The model that the artefact was made of, `org/name`; known from the receipt where that was read from a hub. */
  readonly baseModel?: string;
  /** Identifier of the licence; that of the base model when left out. */
  readonly license?: string;
  /** Says what would be uploaded and uploads nothing. */
  readonly dryRun?: boolean;
  /** Threads that hash; one for each processor when left out. */
  readonly threads?: number;
  /** Called once, before anything is uploaded. */
  readonly onPlan?: (plan: PushPlan) => void;
}

/** A file that is uploaded. */
export interface PushedFile {
  /** Path in the repository. */
  readonly path: string;
  /** Bytes. */
  readonly bytes: number;
}

/** What will be uploaded. */
export interface PushPlan {
  /** `org/name`. */
  readonly repository: string;
  /** Branch. */
  readonly revision: string;
  /** Every file of the commit. */
  readonly files: readonly PushedFile[];
  /** Bytes of all files. */
  readonly bytes: number;
  /** Text of the model card. */
  readonly card: string;
  /** What people should know before. */
  readonly notices: readonly string[];
}

/** What a push has done. */
export interface PushResult extends PushPlan {
  /** The commit; null for a dry run. */
  readonly commit: string | null;
  /** Page of the repository. */
  readonly url: string;
  /** True when the repository was made for it. */
  readonly created: boolean;
}

/**
 * Uploads an artefact with a model card made from its receipt. `HF_TOKEN`, the token file and `HF_ENDPOINT` are used.
 *
 * @param artefact directory or file that Pith has written.
 * @param repository `org/name`; made where it does not exist.
 * @throws PithError `HUB_ID_INVALID`, `RECEIPT_MISSING`, `RECEIPT_INVALID`, `PUSH_DIFFERS` where the artefact is not what its
 * receipt says, `HUB_OFFLINE`, and those of uploading. Nothing is uploaded before all of this is checked.
 */
export async function push(artefact: string, repository: string, options: PushOptions = {}): Promise<PushResult> {
  const { revision = 'main', dryRun = false, threads, onPlan, signal, progress, notice } = options;
  const run: RunOptions = { ...(signal && { signal }), ...(progress && { progress }), ...(notice && { notice }) };
  throwIfStopped(signal, 'push');
  checkNames(repository, revision, options.baseModel);
  const receipt = await readReceipt(artefact);
  await refuseDifferent(artefact, threads === undefined ? run : { ...run, threads });
  const settings = await readHubSettings(process.env);
  if (settings.offline && !dryRun) {
    throw new PithError('HUB_OFFLINE', 'push: the hub must be used, HF_HUB_OFFLINE says otherwise; unset it', {});
  }
  const client = createHubClient({
    endpoint: settings.endpoint,
    ...(settings.token !== undefined && { token: settings.token }),
    ...(signal && { signal }),
  });
  const baseModel = options.baseModel ?? receipt.source.hub?.id;
  const notices: string[] = [];
  const licence = await licenceOf(options.license, settings.offline ? undefined : baseModel, client, notices);
  if (baseModel === undefined)
    notices.push('the receipt does not say which model of a hub this was made of: name it with --base-model');
  const isFile = (await stat(artefact)).isFile();
  const card = modelCard({
    receipt,
    id: repository,
    ...(baseModel !== undefined && { baseModel }),
    ...(licence && { licence }),
    ...(isFile && { file: basename(artefact) }),
  });
  const files = await filesOf(artefact, isFile, receipt, card);
  const plan: PushPlan = {
    repository,
    revision,
    files: files.map(({ path, byteLength }) => ({ path, bytes: byteLength })),
    bytes: files.reduce((sum, { byteLength }) => sum + byteLength, 0),
    card,
    notices,
  };
  onPlan?.(plan);
  const url = `${client.endpoint}/${repository}`;
  if (dryRun) return { ...plan, commit: null, url, created: false };
  const uploaded = await uploadFiles(client, files, {
    id: repository,
    branch: revision,
    message: options.message ?? `Upload of ${receipt.output.format} by Pith`,
    ...(options.private !== undefined && { private: options.private }),
    ...run,
  });
  return { ...plan, ...uploaded };
}

function checkNames(repository: string, revision: string, baseModel: string | undefined): void {
  const wrong = [
    ...(isRepositoryId(repository) ? [] : [['the repository', 'org/name', repository]]),
    ...(isRevision(revision) ? [] : [['--revision', 'the name of a branch', revision]]),
    ...(baseModel === undefined || isRepositoryId(baseModel) ? [] : [['--base-model', 'org/name', baseModel]]),
  ];
  if (wrong.length === 0) return;
  const text = wrong.map(([what, form, got]) => `${what} must be ${form}, got ${JSON.stringify(got)}`).join('; ');
  throw new PithError('HUB_ID_INVALID', `push: ${text}`, { details: { repository, revision } });
}

async function refuseDifferent(artefact: string, options: Parameters<typeof verify>[1]): Promise<void> {
  const { ok, problems } = await verify(artefact, options);
  if (ok) return;
  throw new PithError(
    'PUSH_DIFFERS',
    `push: the artefact must be what its receipt says, ${problems.length} ${problems.length === 1 ? 'thing differs' : 'things differ'}:` +
      `${problems
        .slice(0, 10)
        .map(({ message }) => `\n  ${message}`)
        .join('')}\nmake it again, or take away what does not belong to it`,
    { details: { problems } },
  );
}

/** The licence that was named, or that of the base model; what stood in the way is a notice. */
async function licenceOf(
  named: string | undefined,
  baseModel: string | undefined,
  client: ReturnType<typeof createHubClient>,
  notices: string[],
): Promise<HubLicence | undefined> {
  if (named !== undefined) return { license: named };
  let why = 'the licence is not known';
  if (baseModel !== undefined) {
    try {
      const licence = await readHubLicence(client, baseModel);
      if (licence !== undefined) return licence;
      why = `the card of ${baseModel} names no licence`;
    } catch (error) {
      if (!isPithError(error) || error.kind !== 'input') throw error;
      why = `the licence of ${baseModel} could not be looked up (${error.code})`;
    }
  }
  notices.push(`${why}: name it with --license`);
  return undefined;
}

async function filesOf(artefact: string, isFile: boolean, receipt: Receipt, card: string): Promise<HubUpload[]> {
  const directory = isFile ? dirname(artefact) : artefact;
  const extra = isFile ? [basename(receiptOfFile(artefact))] : [RECEIPT_NAME, REPORT_NAME];
  const names = [...receipt.output.files.map(({ name }) => name), ...extra].filter((name) =>
    existsSync(join(directory, name)),
  );
  const files: HubUpload[] = [];
  for (const name of names) {
    const file = join(directory, name);
    files.push({ path: name, byteLength: (await stat(file)).size, content: { file } });
  }
  return [...files, { path: 'README.md', byteLength: Buffer.byteLength(card), content: { text: card } }];
}

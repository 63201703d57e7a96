// What the card of a model on a hub says of its licence.
import { PithError, isPithError } from '@pith/tensor-core';
import type { HubClient } from './hub-client.ts';
import { reasonOf } from './hub-errors.ts';

/** The licence of a model, as its card has it. */
export interface HubLicence {
  /** Identifier: `apache-2.0`, `llama3.2`, `other`. */
  readonly license: string;
  /** Name of a licence that has no identifier. */
  readonly licenseName?: string;
  /** Where its text is. */
  readonly licenseLink?: string;
}

/** Longest value that is taken over. */
const LIMIT = 200;

/**
 * The licence of a model; undefined where its card names none.
 *
 * @throws PithError those of {@link HubClient.fetch}.
 */
export async function readHubLicence(client: HubClient, id: string): Promise<HubLicence | undefined> {
  const { modelInfo } = await import('@huggingface/hub');
  const operation = `read the card of ${id}`;
  try {
    const { cardData } = await modelInfo({
      name: id,
      hubUrl: client.endpoint,
      fetch: client.fetch({ operation, id }),
      additionalFields: ['cardData'],
    });
    const card = (cardData ?? {}) as Readonly<Record<string, unknown>>;
    // A card may list several.
    const [license] = [card['license']].flat();
    const text = (value: unknown): string | undefined =>
      typeof value === 'string' && value !== '' && value.length <= LIMIT ? value : undefined;
    if (text(license) === undefined) return undefined;
    const [licenseName, licenseLink] = [text(card['license_name']), text(card['license_link'])];
    return {
      license: license as string,
      ...(licenseName !== undefined && { licenseName }),
      ...(licenseLink !== undefined && { licenseLink }),
    };
  } catch (error) {
    if (isPithError(error)) throw error;
    throw new PithError(
      'HUB_LISTING_INVALID',
      `${operation}: the answer must be what the interface says: ${reasonOf(error)}`,
      {
        details: { id },
        cause: error,
      },
    );
  }
}

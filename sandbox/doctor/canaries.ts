/**
 * Secrets that nobody granted, put where a plugin could find them: among the variables of the engine, among those of
 * the sandbox host, and in its folder of secrets. None may ever come out of anything.
 */
import { randomBytes } from 'node:crypto';

export interface Canaries {
  /** In the environment of whoever starts the host; it must not even reach the host. */
  readonly ofEngine: string;
  /** In the environment of the host. */
  readonly ofHost: string;
  /** In the folder of secrets, not granted. */
  readonly ofSecrets: string;
}

/** Name of the secret that is there and that no rule grants. */
export const CANARY_SECRET = 'CANARY';

export function makeCanaries(): Canaries {
  const canary = (place: string) => `canary-${place}-${randomBytes(12).toString('hex')}`;
  return { ofEngine: canary('engine'), ofHost: canary('host'), ofSecrets: canary('secret') };
}

/** Where a canary was found; plain or in one of the forms that a plugin can turn it into by accident. */
export function canariesIn(text: string, canaries: Canaries): string[] {
  const found: string[] = [];
  for (const [place, canary] of Object.entries(canaries)) {
    const forms = [canary, Buffer.from(canary).toString('base64').slice(0, 40), Buffer.from(canary).toString('hex')];
    if (forms.some((form) => text.includes(form))) found.push(place);
  }
  return found;
}

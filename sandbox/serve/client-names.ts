/** Whether a client's certificate, which our authority signed, carries a name of SANDBOX_CLIENTS. Pure. */
import type { X509Certificate } from 'node:crypto';
import { FlowopsError } from '@flowops/proto/errors.ts';

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;
/** The common name counts where the certificate has no alternative names; a wildcard in it stands for nothing here. */
const EXACT = { subject: 'default', wildcards: false, partialWildcards: false } as const;

/** @throws FlowopsError CONFIG_INVALID: a name that could mean several, such as `.example.com`, is no name */
export function checkClientNames(names: readonly string[] | undefined, neededFor: string): readonly string[] {
  if (names === undefined) {
    const what = `SANDBOX_CLIENTS is not set, and SANDBOX_LISTEN ${neededFor} needs it`;
    throw new FlowopsError('CONFIG_INVALID', `${what}: the names in the certificates of the engines that may connect`);
  }
  const wrong = names.find((name) => !NAME.test(name));
  if (wrong === undefined) return names;
  throw new FlowopsError('CONFIG_INVALID', `SANDBOX_CLIENTS holds "${wrong}", which is no name of one engine`);
}

/** The first name of the list that the certificate carries. */
export function listedName(certificate: X509Certificate, names: readonly string[]): string | undefined {
  return names.find((name) => certificate.checkHost(name, EXACT) !== undefined);
}

/**
 * Where a sandbox host of its own listens (SANDBOX_LISTEN) and is reached (SANDBOX_URL): `unix:/path` or `tls://host:port`.
 * What both sides show each other over TLS, checked before it is used, so that a wrong file is told by its setting's name.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { FlowopsError, messageOf } from './errors.ts';

export type SandboxAddress =
  | { readonly kind: 'unix'; readonly text: string; readonly path: string }
  | { readonly kind: 'tls'; readonly text: string; readonly host: string; readonly port: number };

/** TLS 1.3 on both sides and nothing older (design 5.1). */
export const SANDBOX_TLS_VERSION = 'TLSv1.3';

/** @param text as the settings' parser let it through */
export function readSandboxAddress(text: string): SandboxAddress {
  if (text.startsWith('unix:')) return { kind: 'unix', text, path: text.slice('unix:'.length) };
  const url = new URL(text);
  // Brackets belong to the URL, not to the address in them.
  return { kind: 'tls', text, host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) };
}

export interface TlsIdentity {
  /** PEM: who may have signed the other side's certificate; nobody else's word counts. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface TlsSettings {
  readonly SANDBOX_TLS_CA: string | undefined;
  readonly SANDBOX_TLS_CERT: string | undefined;
  readonly SANDBOX_TLS_KEY: string | undefined;
}

/** @throws FlowopsError CONFIG_INVALID that names the setting */
export function readTlsIdentity(settings: TlsSettings, neededFor: string): TlsIdentity {
  const { SANDBOX_TLS_CA: ca, SANDBOX_TLS_CERT: cert, SANDBOX_TLS_KEY: key } = settings;
  if (ca === undefined || cert === undefined || key === undefined) {
    const missing = Object.entries({ SANDBOX_TLS_CA: ca, SANDBOX_TLS_CERT: cert, SANDBOX_TLS_KEY: key })
      .filter(([, value]) => value === undefined)
      .map(([name]) => name);
    const isOne = missing.length === 1;
    throw wrong(
      `${missing.join(', ')} ${isOne ? 'is' : 'are'} not set, and ${neededFor} needs ${isOne ? 'it' : 'them'}: both sides show certificates`,
    );
  }
  read('SANDBOX_TLS_CA', 'a certificate in PEM', () => new X509Certificate(ca));
  const own = read('SANDBOX_TLS_CERT', 'a certificate in PEM', () => new X509Certificate(cert));
  const secret = read('SANDBOX_TLS_KEY', 'a private key in PEM without a passphrase', () => createPrivateKey(key));
  if (!own.checkPrivateKey(secret)) throw wrong('SANDBOX_TLS_KEY is not the key of SANDBOX_TLS_CERT');
  if (Date.now() > Date.parse(own.validTo)) throw wrong(`SANDBOX_TLS_CERT is valid only until ${own.validTo}`);
  return { ca, cert, key };
}

function read<Value>(name: string, what: string, parse: () => Value): Value {
  try {
    return parse();
  } catch (thrown) {
    throw wrong(`${name} is not ${what}: ${messageOf(thrown)}`);
  }
}

function wrong(message: string): FlowopsError {
  return new FlowopsError('CONFIG_INVALID', message);
}

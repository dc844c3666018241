/**
 * Further listeners of a test's own broker that ask who is there: TLS with certificates on both sides, and SASL (plain,
 * SCRAM) over TLS. Their users and certificates are made for the test.
 */
import { type Authority, newAuthority } from './certificates.ts';
import { freePort, LOOPBACK } from './ports.ts';

export interface SecuredListener {
  readonly name: string;
  readonly protocol: 'SSL' | 'SASL_SSL';
  readonly port: number;
}

export interface SecuredListeners {
  readonly listeners: readonly SecuredListener[];
  readonly settings: Readonly<Record<string, string>>;
  /** As the storage tool takes them. */
  readonly scramUsers: readonly string[];
  /** Signed the broker's certificate, and those it lets in. */
  readonly authority: Authority;
  /** `host:port` of the listener that asks for a certificate. */
  readonly tlsBrokers: string;
  /** `host:port` of the listener that asks for a user. */
  readonly saslBrokers: string;
  readonly user: { readonly name: string; readonly password: string };
}

const SCRAM = ['SCRAM-SHA-256', 'SCRAM-SHA-512'];
const LOGIN = 'org.apache.kafka.common.security';

export async function securedListeners(): Promise<SecuredListeners> {
  const authority = newAuthority();
  const broker = authority.issue('broker');
  const user = { name: 'engine', password: 'pass-word-of-the-engine' };
  const [tlsPort, saslPort] = await Promise.all([freePort(), freePort()]);
  return {
    listeners: [
      { name: 'TLS', protocol: 'SSL', port: tlsPort },
      { name: 'SASL', protocol: 'SASL_SSL', port: saslPort },
    ],
    settings: {
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.certificate.chain': oneLine(broker.cert),
      'ssl.keystore.key': oneLine(broker.key),
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.certificates': oneLine(authority.ca),
      'listener.name.tls.ssl.client.auth': 'required',
      'listener.name.sasl.sasl.enabled.mechanisms': ['PLAIN', ...SCRAM].join(','),
      'listener.name.sasl.plain.sasl.jaas.config': `${LOGIN}.plain.PlainLoginModule required user_${user.name}="${user.password}";`,
      ...Object.fromEntries(
        SCRAM.map((mechanism) => [
          `listener.name.sasl.${mechanism.toLowerCase()}.sasl.jaas.config`,
          `${LOGIN}.scram.ScramLoginModule required;`,
        ]),
      ),
    },
    scramUsers: SCRAM.map((mechanism) => `${mechanism}=[name=${user.name},password=${user.password}]`),
    authority,
    tlsBrokers: `${LOOPBACK}:${tlsPort}`,
    saslBrokers: `${LOOPBACK}:${saslPort}`,
    user,
  };
}

/** Java's properties read the two characters backslash and n as the end of a line. */
function oneLine(pem: string): string {
  return pem.trim().replaceAll('\n', '\\n');
}

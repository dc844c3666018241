/** A certificate authority of a test's own, made with openssl: for TLS on loopback, with certificates on both sides. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratchFolder } from './scratch.ts';

export interface Certificate {
  /** PEM */
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Authority {
  /** PEM of the authority itself. */
  readonly ca: string;
  readonly caFile: string;
  /** For this common name, localhost and 127.0.0.1; as a server and as a client. */
  issue(commonName: string): Certificate;
}

const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export function newAuthority(): Authority {
  const folder = scratchFolder();
  const file = (name: string) => join(folder, name);
  const [caFile, caKeyFile] = [file('ca.pem'), file('ca.key')];
  openssl([
    'req',
    '-x509',
    ...CURVE,
    '-days',
    '2',
    '-subj',
    '/CN=test authority',
    '-keyout',
    caKeyFile,
    '-out',
    caFile,
  ]);
  let issued = 0;
  const issue = (commonName: string): Certificate => {
    issued += 1;
    const [certFile, keyFile, request, extensions] = ['pem', 'key', 'csr', 'ext'].map((end) =>
      file(`${issued}.${end}`),
    );
    if (certFile === undefined || keyFile === undefined || request === undefined || extensions === undefined) {
      throw new Error('four files were named');
    }
    writeFileSync(extensions, `subjectAltName=DNS:${commonName},DNS:localhost,IP:127.0.0.1\n`);
    openssl(['req', '-new', ...CURVE, '-subj', `/CN=${commonName}`, '-keyout', keyFile, '-out', request]);
    const signing = ['-CA', caFile, '-CAkey', caKeyFile, '-set_serial', String(issued), '-days', '2'];
    openssl(['x509', '-req', '-in', request, ...signing, '-extfile', extensions, '-out', certFile]);
    return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  };
  return { ca: readFileSync(caFile, 'utf8'), caFile, issue };
}

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

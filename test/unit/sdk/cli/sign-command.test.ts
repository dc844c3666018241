import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parsePublicKey, parseSignature, readPrivateKey, verifyBundle } from '@flowops/proto/bundle-signature.ts';
import { digestOf } from '@flowops/proto/ids.ts';
import { requireSettings } from '@flowops/proto/settings-reader.ts';
import { registerKeysCommand } from '@flowops/sdk/cli/keys-command.ts';
import { newKeyReportSchema, signReportSchema } from '@flowops/sdk/cli/reports.ts';
import { registerSignCommand } from '@flowops/sdk/cli/sign-command.ts';
import { beforeEach, describe, expect, it } from 'vitest';
import { scratchFolder } from '../../../services/scratch.ts';
import { bundleBytes } from '../../../support/bundle-bytes.ts';
import { runProgram } from '../../../support/run-program.ts';

const BUNDLE = bundleBytes({ name: 'acme.hello', version: '1.2.0' });
const isPosix = process.platform !== 'win32';

let folder: string;
let bundle: string;
let keyFile: string;
beforeEach(() => {
  folder = scratchFolder();
  bundle = path.join(folder, 'hello.js');
  keyFile = path.join(folder, 'acme.pem');
  writeFileSync(bundle, BUNDLE);
});

const keysNew = (...args: string[]) => runProgram(registerKeysCommand, ['keys', 'new', ...args]);
function sign(args: readonly string[], env: Record<string, string> = {}) {
  const parts = { settings: () => requireSettings({ env }) };
  return runProgram((program) => registerSignCommand(program, parts), ['sign', ...args]);
}

async function newKey() {
  const { stdout } = await keysNew('--out', keyFile, '--json');
  return newKeyReportSchema.parse(JSON.parse(stdout));
}

function holds(key: string, signatureFile: string, bytes: Uint8Array): boolean {
  const [parsedKey, parsedSignature] = [parsePublicKey(key), parseSignature(readFileSync(signatureFile, 'utf8'))];
  if (!parsedKey.ok || !parsedSignature.ok) throw new Error('not parsed');
  const claim = { digest: digestOf(bytes), name: 'acme.hello', version: '1.2.0' };
  return verifyBundle(claim, parsedSignature.value, parsedKey.value);
}

describe('keys new', () => {
  it('writes a private key that only its owner can read, and prints the line for the policy', async () => {
    const { stdout, stderr, thrown } = await keysNew('--out', keyFile, '--publisher', 'acme');
    expect(thrown).toBeUndefined();
    const pem = readFileSync(keyFile, 'utf8');
    const read = readPrivateKey(pem);
    if (!read.ok) throw new Error(read.problem);
    const { text, keyId } = read.value.publicKey;
    expect(stdout).toBe(`  acme: { keys: [{ key: "${text}" }], names: ["acme.*"] } # keyId ${keyId}\n`);
    if (isPosix) expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    const secret = pem.split('\n')[1] ?? '';
    expect(secret.length).toBeGreaterThan(40);
    expect(stdout + stderr).not.toContain(secret);
  });

  it('never writes over anything', async () => {
    writeFileSync(keyFile, 'precious');
    expect((await keysNew('--out', keyFile)).thrown).toMatchObject({ code: 'USAGE_INVALID' });
    expect(readFileSync(keyFile, 'utf8')).toBe('precious');
  });

  it('says when it cannot write, and takes no publisher that a policy would refuse', async () => {
    const nowhere = path.join(folder, 'missing', 'k.pem');
    expect((await keysNew('--out', nowhere)).thrown).toMatchObject({ code: 'CONFIG_INVALID' });
    expect((await keysNew('--out', keyFile, '--publisher', 'a: b')).thrown).toMatchObject({ code: 'USAGE_INVALID' });
    expect(existsSync(keyFile)).toBe(false);
  });
});

describe('plugin sign', () => {
  it('writes a .sig beside the bundle that holds under the key that was printed', async () => {
    const { key, keyId } = await newKey();
    const { stdout, thrown } = await sign([bundle, '--key', keyFile, '--json']);
    expect(thrown).toBeUndefined();
    expect(signReportSchema.parse(JSON.parse(stdout))).toEqual({
      bundle,
      signature: `${bundle}.sig`,
      digest: digestOf(BUNDLE),
      name: 'acme.hello',
      version: '1.2.0',
      keyId,
    });
    expect(holds(key, `${bundle}.sig`, BUNDLE)).toBe(true);
    expect(holds(key, `${bundle}.sig`, bundleBytes({ code: 'export default 2' }))).toBe(false);
  });

  it.each(['FLOWOPS_SIGNING_KEY', 'FLOWOPS_SIGNING_KEY_FILE'])('takes the key of the setting %s', async (name) => {
    const { key } = await newKey();
    const value = name.endsWith('_FILE') ? keyFile : readFileSync(keyFile, 'utf8');
    expect((await sign([bundle], { [name]: value })).thrown).toBeUndefined();
    expect(holds(key, `${bundle}.sig`, BUNDLE)).toBe(true);
  });

  it('asks for a key when there is none', async () => {
    const { thrown } = await sign([bundle]);
    expect(thrown).toMatchObject({ code: 'USAGE_INVALID', message: expect.stringContaining('--key FILE') as string });
  });

  it.runIf(isPosix)('refuses a key that others on the machine can read', async () => {
    await newKey();
    for (const mode of [0o640, 0o604, 0o620]) {
      chmodSync(keyFile, mode);
      const { thrown } = await sign([bundle, '--key', keyFile]);
      expect(thrown).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('chmod 600') as string });
    }
    expect(existsSync(`${bundle}.sig`)).toBe(false);
  });

  it.each<[string, string | Uint8Array, string]>([
    ['is a source', 'export default {};', 'flowops plugin build'],
    ['is empty', '', 'empty'],
    ['is binary junk', Buffer.alloc(5000, 0xfe), 'first line'],
    ['has a broken manifest line', '//! flowops-plugin {"name":"x"\n', 'not JSON'],
  ])('signs nothing that %s', async (_, bytes, word) => {
    await newKey();
    writeFileSync(bundle, bytes);
    const { thrown } = await sign([bundle, '--key', keyFile]);
    expect(thrown).toMatchObject({ code: 'PLUGIN_INVALID', message: expect.stringContaining(word) as string });
    expect(existsSync(`${bundle}.sig`)).toBe(false);
  });

  it('says what is wrong with a key without repeating it', async () => {
    writeFileSync(keyFile, 'hunter2hunter2', { mode: 0o600 });
    const { thrown } = await sign([bundle, '--key', keyFile]);
    expect(thrown).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('keys new') as string });
    expect(String(thrown)).not.toContain('hunter2');
    const missing = await sign([bundle, '--key', `${keyFile}.not`]);
    expect(missing.thrown).toMatchObject({ code: 'USAGE_INVALID' });
  });
});

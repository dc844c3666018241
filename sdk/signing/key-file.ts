/**
 * Private keys in files: made once and never written over, and read only when nobody else on the machine can. What a
 * key is and does is proto/bundle-signature.ts; no message of this file holds a line of a key.
 */
import { open, rm } from 'node:fs/promises';
import { MAX_KEY_FILE_BYTES, newPrivateKey, type PublicKey } from '@flowops/proto/bundle-signature.ts';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';

/** Group and others. */
const OTHERS = 0o077;

/** @throws FlowopsError USAGE_INVALID when there is something of that name, CONFIG_INVALID when it cannot be written. */
export async function createKeyFile(file: string): Promise<PublicKey> {
  const { pem, publicKey } = newPrivateKey();
  const handle = await open(file, 'wx', 0o600).catch((thrown: unknown) => {
    if (codeOf(thrown) === 'EEXIST') {
      throw new FlowopsError('USAGE_INVALID', `${file} exists; a key is never written over: choose another name`);
    }
    throw unwritable(file, thrown);
  });
  try {
    await handle.writeFile(pem);
    await handle.sync();
  } catch (thrown) {
    // Half a key is no key.
    await rm(file, { force: true });
    throw unwritable(file, thrown);
  } finally {
    await handle.close();
  }
  return publicKey;
}

/** The text of a key file. As ssh does, a key that others can read is refused. @throws FlowopsError */
export async function readKeyFile(file: string): Promise<string> {
  const handle = await open(file, 'r').catch((thrown: unknown) => {
    const why = codeOf(thrown) === 'ENOENT' ? 'there is no such file; `flowops keys new` makes one' : messageOf(thrown);
    throw new FlowopsError('USAGE_INVALID', `--key ${file}: ${why}`);
  });
  try {
    const { mode, size } = await handle.stat();
    // Windows has no such bits: every file looks open to all.
    if (process.platform !== 'win32' && (mode & OTHERS) !== 0) {
      throw new FlowopsError(
        'CONFIG_INVALID',
        `${file} can be read by others on this machine (mode ${(mode & 0o777).toString(8).padStart(4, '0')}): whoever ` +
          `has it signs as you. chmod 600 ${file}, and make a new key if somebody may have read it`,
      );
    }
    if (size > MAX_KEY_FILE_BYTES) throw new FlowopsError('CONFIG_INVALID', `${file} is no private key in PEM`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

function unwritable(file: string, thrown: unknown): FlowopsError {
  const why = codeOf(thrown) === 'ENOENT' ? 'its folder does not exist' : messageOf(thrown);
  return new FlowopsError('CONFIG_INVALID', `${file} cannot be written: ${why}`, { cause: thrown });
}

function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
}

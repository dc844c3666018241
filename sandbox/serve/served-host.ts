/**
 * A sandbox host that runs on its own (`flowops sandbox serve`): the same host as an engine's own, for several engines at
 * the addresses of SANDBOX_LISTEN. Told to end, it takes no new steps, says so, lets those that run finish, and tells
 * engines of the rest that it was not their fault.
 */
import { FlowopsError } from '@flowops/proto/errors.ts';
import { readSandboxAddress, readTlsIdentity } from '@flowops/proto/sandbox-address.ts';
import type { SettingValues } from '@flowops/proto/settings.ts';
import type { Logger } from 'pino';
import { type App, openApp } from '../app.ts';
import type { SandboxConfig } from '../config.ts';
import { openSecrets } from '../host-calls/open-secrets.ts';
import { workerFiles } from '../isolate/worker-files.ts';
import { checkClientNames } from './client-names.ts';
import { type Listener, listen, type TlsTerms } from './listener.ts';

/** After the rest was ended: for the engines to store what they are told. */
const LAST_WORDS_MS = 3_000;
const ENDING = 'the sandbox host was told to end';

export interface ServeOptions {
  readonly values: SettingValues;
  readonly config: SandboxConfig;
  readonly log: Logger;
}

export interface ServedHost {
  readonly instance: string;
  /** As engines write them in SANDBOX_URL. */
  readonly addresses: readonly string[];
  /** Resolves when everything has ended; at once when it is aborted. Idempotent. */
  end(signal: AbortSignal): Promise<void>;
}

/** @throws FlowopsError CONFIG_INVALID for an address, a certificate, a policy that cannot be used. */
export async function serveHost({ values, config, log }: ServeOptions): Promise<ServedHost> {
  const { SANDBOX_LISTEN: texts, DRAIN_MS: drainMs } = values;
  if (texts === undefined) {
    const example = 'for example unix:/run/flowops/sandbox.sock or tls://0.0.0.0:9443';
    throw new FlowopsError('CONFIG_INVALID', `SANDBOX_LISTEN is not set: where engines reach this host, ${example}`);
  }
  const addresses = texts.map(readSandboxAddress);
  const tlsAddress = addresses.find(({ kind }) => kind === 'tls');
  const tls = tlsAddress === undefined ? undefined : tlsTerms(values, tlsAddress.text);
  const secrets = await openSecrets(config, process.stdin);
  const app = await openApp({ config, log, workerFiles, secrets, isServing: true });
  const listeners: Listener[] = [];
  try {
    for (const address of addresses) {
      listeners.push(await listen({ address, tls, log, onConnection: (stream) => void app.serve(stream) }));
    }
  } catch (thrown) {
    for (const listener of listeners) listener.close();
    await app.close();
    throw thrown;
  }
  let ending: Promise<void> | undefined;
  return {
    instance: app.instance,
    addresses: listeners.map(({ address }) => address),
    end: (signal) => (ending ??= endInOrder({ app, listeners, drainMs, signal, log })),
  };
}

function tlsTerms(values: SettingValues, address: string): TlsTerms {
  return {
    identity: readTlsIdentity(values, `SANDBOX_LISTEN ${address}`),
    clients: checkClientNames(values.SANDBOX_CLIENTS, address),
  };
}

interface Ending {
  readonly app: App;
  readonly listeners: readonly Listener[];
  readonly drainMs: number;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** Engines may still connect while it drains: one that takes over a run attaches to what runs here. */
async function endInOrder({ app, listeners, drainMs, signal, log }: Ending): Promise<void> {
  const done = app.drain();
  if (!(await isWithin(done, drainMs, signal))) {
    log.warn({ drainMs }, 'steps still run; they are ended, and their engines run them again elsewhere');
    app.endAll(ENDING);
    await isWithin(done, LAST_WORDS_MS, signal);
  }
  for (const listener of listeners) listener.close();
  await app.close();
}

function isWithin(done: Promise<void>, ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const finish = (isDone: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      resolve(isDone);
    };
    const onAbort = (): void => finish(false);
    const timer = setTimeout(onAbort, ms);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    void done.then(() => finish(true));
  });
}

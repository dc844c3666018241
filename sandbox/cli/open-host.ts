/** The sandbox host of a command: started when first asked for, at most once per policy, closed with the command. */
import type { SandboxHost } from '@flowops/proto/attempt.ts';
import type { OpenedSandbox } from '@flowops/sdk/build/build-result.ts';

/** The policy of a host that a command starts. */
export type HostPolicy = { readonly kind: 'developer' } | { readonly kind: 'file'; readonly file: string };

export type StartHost = (policy: HostPolicy) => Promise<OpenedSandbox>;

export class CommandHosts {
  readonly #start: StartHost;
  readonly #opened = new Map<string, Promise<OpenedSandbox>>();

  constructor(start: StartHost) {
    this.#start = start;
  }

  open(policy: HostPolicy): Promise<OpenedSandbox> {
    const key = policy.kind === 'file' ? `file ${policy.file}` : policy.kind;
    const before = this.#opened.get(key);
    if (before !== undefined) return before;
    const opened = this.#start(policy);
    this.#opened.set(key, opened);
    return opened;
  }

  /** Ends every host and what runs in it. Idempotent. */
  async close(): Promise<void> {
    const hosts: SandboxHost[] = [];
    for (const opened of this.#opened.values()) {
      const result = await opened.catch(() => undefined); // whoever opened it was told
      if (result?.ok === true) hosts.push(result.host);
    }
    await Promise.all(hosts.map((host) => host.close()));
  }
}

/**
 * The composition of a sandbox host. Reading order: main.ts → here → one folder.
 *
 *   main.ts        the process: settings, descriptor 3, the end of the parent
 *   config.ts      its settings
 *   host.ts        connections of engines and CLIs, bundles on their way in
 *   own-instance.ts  this process by name, and the proof of its end
 *   serve/         a host that runs on its own: its sockets, who may connect, its end
 *   attempts/      every attempt from Invoke to ResultAck: epochs, admission, log caps, results with receipts
 *   bundles/       the bytes that were hashed here
 *   host-calls/    what plugins ask of the host: fetch and secrets
 *   policy/        what may run where, with what limits
 *   ledger/        what this host remembers of plugins: names of first use, violations
 *   tier.ts        what a tier is to the host
 *   steps/         what both tiers do for a step in a sandbox: its clock and limits, what it is told, how it can end
 *   kernel/        what /proc tells about a process
 *   isolate/       the isolate tier: tier → worker-pool → worker-source → worker-process (host side);
 *                  worker/ runs inside the jail
 *   guest/         what runs a plugin in every tier: the protocol with it, its bounds, inject/ = the API it sees
 *   container/     the container tier: tier → pool → step-container → served-step over docker-engine; hardening and its
 *                  check; runner/ and init/ run inside the container
 *   doctor/        what this machine can enforce, known holes, the hostile cases; of it this process loads the facts only
 *   cli/           `flowops sandbox …`, `flowops policy …`
 *
 * Nothing here loads plugin code, and nothing of isolate/worker/, container/runner/ and guest/ is loaded by this process.
 */
import type { Duplex } from 'node:stream';
import { endedInstances } from '@flowops/proto/host-instances.ts';
import type { PeerEnd } from '@flowops/proto/peer.ts';
import { MAX_ENDED_INSTANCES } from '@flowops/proto/peer-rules.ts';
import type { Logger } from 'pino';
import { AttemptTable } from './attempts/attempt-table.ts';
import { BundleStore } from './bundles/bundle-store.ts';
import type { SandboxConfig } from './config.ts';
import { openHoldings } from './container/holdings.ts';
import { openContainerTier } from './container/open-container-tier.ts';
import { Host } from './host.ts';
import type { SecretSource } from './host-calls/secret-source.ts';
import type { WorkerFiles } from './isolate/jail.ts';
import { openIsolateTier } from './isolate/open-tier.ts';
import { LEDGER_POLL_MS, NO_MEMORY, openPluginLedger } from './ledger/plugin-ledger.ts';
import { OwnInstance } from './own-instance.ts';
import { DockerWatch } from './policy/docker-watch.ts';
import type { DockerFacts } from './policy/machine.ts';
import { openPolicy } from './policy/source.ts';

/** After which what is wrong with this machine's containers is logged. */
const REPORT_MS = 10_000;

export interface App {
  readonly instance: string;
  /** Serves one connection until it ends. */
  serve(stream: Duplex): Promise<PeerEnd>;
  /** Takes no new attempts; resolves when nothing runs and every engine has what came of its own. */
  drain(): Promise<void>;
  /** Ends all that runs; the engines are told that it was no fault of the plugins. */
  endAll(message: string): void;
  /** Ends every worker and all that runs. Idempotent. */
  close(): Promise<void>;
}

export interface AppOptions {
  readonly config: SandboxConfig;
  readonly log: Logger;
  readonly workerFiles: () => Promise<WorkerFiles>;
  readonly secrets: SecretSource;
  /** It serves several engines, and tells them which former hosts of its FLOWOPS_HOME have ended. */
  readonly isServing?: boolean;
  /** For tests: as if this machine had no namespaces. */
  readonly withoutJail?: boolean;
}

export async function openApp(options: AppOptions): Promise<App> {
  const { config, log, workerFiles, secrets, isServing = false, withoutJail = false } = options;
  const own = new OwnInstance(config.home, log);
  const instance = own.name;
  const docker = new DockerWatch({ look: lookAtDocker, log });
  const policy = await openPolicy({
    ...(config.policyFile === undefined ? {} : { file: config.policyFile }),
    developer: config.developerPolicy,
    log,
    docker: () => docker.look(),
  });
  const holdings = openHoldings({ dockerHost: config.dockerHost, instance, log });
  const isolate = await openIsolateTier({
    files: await workerFiles(),
    maxWorkers: config.maxWorkers,
    cores: config.cores,
    instance,
    log,
    withoutJail,
    containers: { holdings, image: config.workerImage, runtime: config.workerRuntime },
  });
  const container = openContainerTier({
    image: config.image,
    maxContainers: config.maxContainers,
    ahead: config.containersAhead,
    cores: config.cores,
    dockerHost: config.dockerHost,
    holdings,
    instance,
    policy,
    log,
  });
  const bundles = new BundleStore();
  const hostCalls = { secrets };
  const tiers = { isolate, container };
  const ledger = config.developerPolicy
    ? undefined
    : await openPluginLedger({ home: config.home, log, pollMs: LEDGER_POLL_MS });
  const memory = ledger ?? NO_MEMORY;
  const attempts = new AttemptTable({
    ...{ tiers, bundles, policy, memory, hostCalls, log },
    runtimeProblem: (runtime) => docker.problemOf(runtime),
    workerRuntime: () => isolate.containerRuntime(),
  });
  // A person's own plugins run in isolates, and a host of one short flow is gone before it needs to be told.
  const report = config.developerPolicy ? undefined : setTimeout(() => void docker.report(), REPORT_MS).unref();
  const others = isServing ? endedInstances(config.home, MAX_ENDED_INSTANCES) : [];
  const host = new Host({
    ...{ instance, attempts, bundles, log },
    allowsDebug: config.allowsDebug ?? false,
    leaseMs: config.leaseMs,
    cores: config.cores,
    endedInstances: others,
    onEngine: () => own.hold(),
  });
  let closing: Promise<void> | undefined;
  return {
    instance,
    serve: (stream) => host.serve(stream),
    drain: () => host.drain(),
    endAll: (message) => attempts.endAll(message),
    close: () => {
      closing ??= (async () => {
        host.close();
        clearTimeout(report);
        attempts.close();
        await Promise.all([isolate.close(), container.close()]);
        await policy.close();
        await ledger?.close();
        own.release();
      })();
      return closing;
    },
  };
}

/** Loaded only when it is asked for: most hosts of a command never do. */
async function lookAtDocker(): Promise<DockerFacts> {
  const { machineFindings } = await import('./doctor/container-facts.ts');
  return (await machineFindings()).containers;
}

/**
 * What one host holds of Docker, whichever tier asked for it: the way to it, the name it signs its containers with, which
 * ones it looks after, and the sweep of what nobody does. Speaks to nobody before it is used.
 */
import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import type { DockerDaemon } from './daemon.ts';
import type { DockerEngine } from './docker-engine.ts';
import { dockerEngine } from './dockerode-engine.ts';
import type { ContainerWorld } from './held-container.ts';
import { thisOwner } from './labels.ts';
import { SECCOMP_PROFILE_JSON } from './seccomp-profile.ts';
import { sweep } from './sweep.ts';
import { usualSocket } from './usual-socket.ts';

export interface HoldingsOptions {
  /** As DOCKER_HOST is written. */
  readonly dockerHost: string | undefined;
  /** Unique for this process. */
  readonly instance: string;
  readonly log: Logger;
  /** For tests. */
  readonly engine?: DockerEngine;
  /** For tests: as if this host saw less of the machine. */
  readonly viewOf?: ContainerWorld['viewOf'];
}

export interface DockerHoldings {
  readonly engine: DockerEngine;
  readonly instance: string;
  /** False: there is no socket, and nobody needs to be asked. */
  readonly canBeThere: boolean;
  /** What `sweep` is to remove at the next occasion. */
  readonly left: ReadonlySet<string>;
  world(daemon: DockerDaemon): ContainerWorld;
  /** How many were removed. Never rejects. */
  sweep(): Promise<number>;
}

export function openHoldings({ dockerHost, instance, log, viewOf, ...given }: HoldingsOptions): DockerHoldings {
  const engine = given.engine ?? dockerEngine(dockerHost);
  const owner = thisOwner(instance);
  const tracked = new Set<string>();
  const left = new Set<string>();
  return {
    engine,
    instance,
    canBeThere: canBeThere(dockerHost),
    left,
    world: (daemon) => ({
      ...{ engine, daemon, owner, tracked, left, log, viewOf },
      seccompProfile: SECCOMP_PROFILE_JSON,
    }),
    sweep: () => sweep({ engine, self: owner, tracked, left, log }),
  };
}

function canBeThere(dockerHost: string | undefined): boolean {
  const path = dockerHost === undefined ? usualSocket() : /^unix:\/\/(.+)$/.exec(dockerHost)?.[1];
  return path === undefined || existsSync(path);
}

/** What a plugin sees in a worker that is a container, on both runtimes: the same as in a jailed one. */
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { type DockerService, startDocker, workerImage } from '../services/docker.ts';
import { skipBecause } from '../support/skip.ts';
import { stepsOf } from '../support/step-host.ts';
import { isolateWorkerProgram, WorkerHost } from '../support/worker-host.ts';
import { guestFetchSuite } from './guest-fetch-suite.ts';
import { guestGlobalsSuite } from './guest-globals-suite.ts';
import { guestSuite } from './guest-suite.ts';

const RELAY = path.join(import.meta.dirname, '..', 'fixtures', 'sandbox', 'container-worker-relay.ts');

let docker: DockerService;
let image: string;
beforeAll(async () => {
  docker = await startDocker();
  image = await workerImage(docker);
}, 300_000);
afterAll(() => docker?.stop());

describe.each(['runc', 'runsc'] as const)('a worker container on %s', (runtime) => {
  beforeEach((context) => {
    if (!docker.runtimes.includes(runtime)) skipBecause(context, `Docker has no ${runtime} here`);
  });
  const steps = stepsOf(async () => {
    const place = JSON.stringify({ dockerHost: docker.host, image, runtime });
    const worker = new WorkerHost(isolateWorkerProgram([RELAY, place]));
    await Promise.race([worker.opened, worker.ended]);
    return worker;
  });
  guestSuite(steps);
  guestGlobalsSuite(steps);
  guestFetchSuite(steps);
});

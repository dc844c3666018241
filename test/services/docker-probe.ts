/** The image of a step with test/fixtures/container-probe in it: what native code would try. */
import { join } from 'node:path';
import { BASE_IMAGE } from '../../bin/image/base-image.ts';
import { docker } from '../../bin/image/docker-cli.ts';
import type { DockerService } from './docker.ts';

const FOLDER = join(import.meta.dirname, '..', 'fixtures', 'container-probe');
const BUILD_TIMEOUT_MS = 180_000;

/** @returns the image's id. Built in a second when nothing changed. */
export async function probeImage(service: DockerService): Promise<string> {
  const args = ['--build-arg', `NODE_IMAGE=${BASE_IMAGE}`, '--build-arg', `STEP_IMAGE=${service.image}`];
  // By the content of the step's image, so that two clones do not move each other's name.
  const tag = service.image.replace('step-runner', 'step-probe');
  const cli = { host: service.host, say: () => {} };
  const built = await docker(cli, ['build', '-q', '--network', 'host', '-t', tag, ...args, FOLDER], {
    timeoutMs: BUILD_TIMEOUT_MS,
  });
  if (!built.ok) throw new Error(`the probe's image cannot be built:\n${built.problem}`);
  return tag;
}

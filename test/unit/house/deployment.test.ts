/** What is deployed agrees with itself: images, compose files and the code name the same things. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SETTING_NAMES, settingOf } from '@flowops/proto/settings.ts';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { BASE_IMAGE } from '../../../bin/image/base-image.ts';
import { ROOT, readProjectFile } from './project-files.ts';

const DOCKERFILES = ['Dockerfile.sandbox', 'Dockerfile.engine'];
const COMPOSE = 'docker-compose.yml';
const WITH_CONTAINERS = 'docker-compose.containers.yml';

const serviceSchema = z.looseObject({
  image: z.string().optional(),
  build: z.looseObject({ context: z.string(), dockerfile: z.string() }).optional(),
  environment: z.record(z.string(), z.unknown()).default({}),
  volumes: z.array(z.string()).default([]),
  ports: z.array(z.string()).default([]),
  privileged: z.boolean().default(false),
});
const composeSchema = z.looseObject({
  services: z.record(z.string(), serviceSchema),
  volumes: z.record(z.string(), z.unknown()).default({}),
});

const readCompose = (file: string) => composeSchema.parse(parse(readProjectFile(file)));
const compose = readCompose(COMPOSE);
const services = Object.entries(compose.services);

describe('the Dockerfiles', () => {
  it.each(DOCKERFILES)('%s begins from the base image that the code makes where none can be pulled', (file) => {
    expect(readProjectFile(file)).toContain(`\nARG NODE_IMAGE=${BASE_IMAGE}\n`);
  });

  it.each(DOCKERFILES)(
    '%s installs the packages of every workspace, in the layers that the other one has too',
    (file) => {
      const stage = (text: string) => /FROM \$\{NODE_IMAGE\} AS packages\n([\s\S]*?)\n\n/.exec(text)?.[1];
      const installs = stage(readProjectFile(file));
      const { workspaces } = z
        .looseObject({ workspaces: z.array(z.string()) })
        .parse(JSON.parse(readProjectFile('package.json')));
      for (const folder of workspaces) expect(installs).toContain(`COPY ${folder}/package.json ${folder}/`);
      expect(DOCKERFILES.map((other) => stage(readProjectFile(other)))).toEqual([installs, installs]);
    },
  );

  it.each(DOCKERFILES)('%s leaves root before it starts anything', (file) => {
    const stages = readProjectFile(file).split(/^FROM /m);
    const started = stages.filter((text) => text.includes('\nENTRYPOINT '));
    expect(started.length).toBeGreaterThan(0);
    for (const text of started) expect(text).toMatch(/\nUSER (node|65532:65532)\n/);
  });
});

describe('the compose files', () => {
  it('name each image that is not built here with its whole version', () => {
    const pulled = services.filter(([, { build }]) => build === undefined).map(([, { image }]) => image ?? '');
    expect(pulled.length).toBeGreaterThan(0);
    for (const image of pulled) expect(image).toMatch(/^[\w/.-]+:\d+\.\d+\.\d+(-[\w.]+)?$/);
  });

  it('set only settings that there are, and mount only files and volumes that there are', () => {
    const { engine, sandbox } = compose.services;
    const known: readonly string[] = SETTING_NAMES;
    const names = [engine, sandbox].flatMap((service) => Object.keys(service?.environment ?? {}));
    expect(names).toEqual(expect.arrayContaining(['KAFKA_BROKERS', 'SANDBOX_POLICY']));
    expect(names.filter((name) => !known.includes(name))).toEqual([]);
    const sources = services.flatMap(([, { volumes }]) => volumes.map((volume) => volume.split(':')[0] ?? ''));
    const missing = sources.filter((source) =>
      source.startsWith('.') ? !existsSync(join(ROOT, source)) : !(source in compose.volumes),
    );
    expect(missing).toEqual([]);
  });

  it("give Docker's socket to nobody, but for the file that says so", () => {
    expect(JSON.stringify(compose.services)).not.toContain('docker.sock');
    expect(services.filter(([, { privileged }]) => privileged)).toEqual([]);
    const { services: added } = readCompose(WITH_CONTAINERS);
    expect(Object.keys(added)).toEqual(['sandbox']);
    expect(added.sandbox?.volumes).toEqual(['/var/run/docker.sock:/var/run/docker.sock']);
    expect(added.sandbox?.environment.SANDBOX_IMAGE).toBe(settingOf('SANDBOX_IMAGE').default);
  });

  it('join engine and sandbox host by a socket in a volume that only they have, and by no network', () => {
    const { engine, sandbox } = compose.services;
    const socket = 'sandbox-socket:/run/flowops';
    expect(services.filter(([, { volumes }]) => volumes.includes(socket)).map(([name]) => name)).toEqual([
      'engine',
      'sandbox',
    ]);
    const path = /SANDBOX_LISTEN=(\S+)/.exec(readProjectFile('Dockerfile.sandbox'))?.[1];
    expect(engine?.environment.SANDBOX_URL).toBe(path);
    expect([engine?.networks, sandbox?.networks]).toEqual([undefined, ['plugins']]);
  });

  it('let no profile off but that of the sandbox host, which jails what it starts', () => {
    const free = services.filter(([, service]) => JSON.stringify(service).includes('unconfined')).map(([name]) => name);
    expect(free).toEqual(['sandbox']);
  });

  it('open ports on this machine only', () => {
    const ports = services.flatMap(([, service]) => service.ports);
    expect(ports.length).toBeGreaterThan(0);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });
});

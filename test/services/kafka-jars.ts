/**
 * Apache Kafka's own jars, broker and console tools, in a cache folder of the user: fetched once by Maven, put in place
 * by a rename, so that a half download is never seen, and by one process at a time.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from './child.ts';
import { isAlive } from './scratch.ts';
import { needProgram } from './system-package.ts';

export const KAFKA_VERSION = '4.1.0';
const DOWNLOAD_TIMEOUT_MS = 300_000;
const LOCK_POLL_MS = 200;

const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'flowops');
const FOLDER = join(CACHE, `kafka-${KAFKA_VERSION}`);

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>flowops.test</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`;

export function hasKafkaJars(): boolean {
  return existsSync(FOLDER);
}

/** The folder of the jars; downloads them when they are not there. */
export async function kafkaJars(): Promise<string> {
  await needProgram('java', 'default-jre-headless');
  if (hasKafkaJars()) return FOLDER;
  await needProgram('mvn', 'maven');
  await mkdir(CACHE, { recursive: true });
  const unlock = await lock(`${FOLDER}.lock`);
  try {
    if (!hasKafkaJars()) await download();
  } finally {
    await unlock();
  }
  return FOLDER;
}

async function download(): Promise<void> {
  const work = `${FOLDER}.${process.pid}.tmp`;
  try {
    await rm(work, { recursive: true, force: true });
    await mkdir(work);
    await writeFile(join(work, 'pom.xml'), POM);
    const goal = ['dependency:copy-dependencies', `-DoutputDirectory=${join(work, 'jars')}`];
    await runCommand(['mvn', '-q', '-B', ...goal], { cwd: work, timeoutMs: DOWNLOAD_TIMEOUT_MS });
    await rename(join(work, 'jars'), FOLDER);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** One holder at a time; a lock whose holder is dead is taken over. */
async function lock(file: string): Promise<() => Promise<void>> {
  const deadline = AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS);
  for (;;) {
    try {
      await writeFile(file, String(process.pid), { flag: 'wx' });
      return () => rm(file, { force: true });
    } catch {
      const holder = Number(await readFile(file, 'utf8').catch(() => ''));
      if (holder > 0 && !isAlive(holder)) await rm(file, { force: true });
      else await sleep(LOCK_POLL_MS, undefined, { signal: deadline });
    }
  }
}

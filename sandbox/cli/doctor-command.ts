/**
 * `flowops sandbox doctor`: what this machine can enforce, then the hostile cases run against it, as a table. stdout
 * gets both; on a terminal stderr shows how far it is.
 */
import { type CliParts, EXIT } from '@flowops/proto/cli.ts';
import { FlowopsError } from '@flowops/proto/errors.ts';
import { jsonLine } from '@flowops/proto/json-line.ts';
import { showControls } from '@flowops/proto/terminal-text.ts';
import type { Place } from '../doctor/case.ts';
import { HOSTILE_CASES } from '../doctor/catalogue.ts';
import { findingsOf } from '../doctor/container-facts.ts';
import { type DockerResult, openDockerView } from '../doctor/docker-view.ts';
import { casesAt, runDoctor } from '../doctor/doctor.ts';
import { knownHoles } from '../doctor/known-holes.ts';
import { describeMachine, type MachineLine } from '../doctor/machine.ts';
import { partVersions } from '../doctor/part-versions.ts';
import type { CaseResult } from '../doctor/plugin-lane.ts';
import type { DoctorReport } from './reports.ts';

export interface DoctorOptions {
  readonly json?: true;
  readonly tier?: 'isolate' | 'container';
  readonly runtime?: 'runc' | 'runsc';
  readonly case?: readonly string[];
}

const ISOLATE: Place = { tier: 'isolate', runtime: 'isolated-vm' };
const HOST: Place = { tier: 'host', runtime: 'node' };

export async function sandboxDoctor(options: DoctorOptions, parts: CliParts): Promise<void> {
  const { values } = await parts.settings();
  const cases = casesOf(options.case ?? []);
  const docker = await openDockerView();
  const image = values.SANDBOX_IMAGE;
  const isJson = options.json === true;
  const { SANDBOX_WORKER_IMAGE, SANDBOX_WORKER_RUNTIME } = values;
  const machine = await machineLines(docker, { image, workerImage: SANDBOX_WORKER_IMAGE });
  if (!isJson) process.stdout.write(`${machine.map(lineText).join('\n')}\n\n`);
  const places = await placesOf(options, docker, image);
  const total = places.reduce((sum, place) => sum + casesAt(cases, place).length, 0);
  if (total === 0) throw new FlowopsError('USAGE_INVALID', nothingToTry(options, docker));
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  let done = 0;
  const results = await runDoctor({
    cases,
    places,
    docker: docker.ok ? docker.docker : undefined,
    env: { ...process.env, SANDBOX_IMAGE: image, SANDBOX_WORKER_IMAGE, SANDBOX_WORKER_RUNTIME },
    signal: interrupt.signal,
    onResult: () => {
      done++;
      if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${done} of ${total} cases`);
    },
  });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const failed = results.filter(({ problems }) => problems.length > 0);
  const isOk = failed.length === 0 && results.length === total;
  if (isJson) {
    const report: DoctorReport = { ok: isOk, checks: results.map(checkOf), machine };
    process.stdout.write(`${jsonLine(report)}\n`);
  } else {
    for (const result of results) process.stdout.write(`${resultText(result)}\n`);
    process.stdout.write(`\n${results.length - failed.length} of ${total} cases passed\n`);
  }
  if (interrupt.signal.aborted) process.exitCode = EXIT.interrupted;
  else if (!isOk) process.exitCode = EXIT.failed;
}

function casesOf(ids: readonly string[]): typeof HOSTILE_CASES {
  const unknown = ids.find((id) => !HOSTILE_CASES.some((hostile) => hostile.id === id));
  if (unknown !== undefined) {
    const known = [...new Set(HOSTILE_CASES.map(({ id }) => id))].join(', ');
    throw new FlowopsError('USAGE_INVALID', `there is no case ${showControls(unknown)}; there are ${known}`);
  }
  return ids.length === 0 ? HOSTILE_CASES : HOSTILE_CASES.filter(({ id }) => ids.includes(id));
}

/** A runtime that is not there is not tried; that it is missing is told above the table. */
async function placesOf(options: DoctorOptions, docker: DockerResult, image: string): Promise<Place[]> {
  const { tier, runtime } = options;
  const places: Place[] = [];
  if (runtime === undefined && tier !== 'container') places.push(ISOLATE);
  if (tier !== 'isolate' && docker.ok && (await docker.docker.imageId(image)) !== undefined) {
    for (const one of ['runc', 'runsc'] as const) {
      if (docker.facts.runtimes.includes(one) && (runtime === undefined || runtime === one)) {
        places.push({ tier: 'container', runtime: one });
      }
    }
  }
  if (tier === undefined && runtime === undefined) places.push(HOST);
  return places;
}

function nothingToTry({ tier, runtime }: DoctorOptions, docker: DockerResult): string {
  if ((tier === 'container' || runtime !== undefined) && !docker.ok) {
    return `no container can be tried: Docker does not answer (${docker.problem})`;
  }
  return 'no case is left to try with these options; on this machine the image or the runtime may be missing';
}

interface Images {
  readonly image: string;
  readonly workerImage: string;
}

async function machineLines(docker: DockerResult, images: Images): Promise<readonly MachineLine[]> {
  const facts = docker.ok ? docker.facts : undefined;
  const versions = await partVersions(facts);
  const holes = facts === undefined ? knownHoles(versions) : (await findingsOf(facts)).holes;
  return describeMachine({
    docker: docker.ok ? { view: docker.docker, facts: docker.facts } : { problem: docker.problem },
    ...images,
    versions,
    holes,
  });
}

function lineText({ name, text, ok }: MachineLine): string {
  return `${ok ? ' ' : '!'} ${name.padEnd(15)} ${showControls(text)}`;
}

function resultText({ id, place, title, problems }: CaseResult): string {
  const mark = problems.length === 0 ? 'pass' : 'FAIL';
  const head = `${mark}  ${id.padStart(2)}  ${place.runtime.padEnd(11)}  ${title}`;
  return [head, ...problems.map((problem) => `          ${showControls(problem)}`)].join('\n');
}

function checkOf({ id, place, title, problems }: CaseResult): DoctorReport['checks'][number] {
  return {
    id,
    tier: place.tier,
    runtime: place.runtime,
    title,
    ok: problems.length === 0,
    detail: problems.join('; '),
  };
}

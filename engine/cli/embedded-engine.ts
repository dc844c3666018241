/**
 * `flowops engine --embedded`: takes up every run that a `flowops run` of this FLOWOPS_HOME left unfinished, and ends
 * when they have. A run that another process is running is left to it.
 */
import { resolve } from 'node:path';
import { type CliParts, EXIT } from '@flowops/proto/cli.ts';
import { FlowopsError, messageOf } from '@flowops/proto/errors.ts';
import type { Settings } from '@flowops/proto/settings-reader.ts';
import type { Logger } from 'pino';
import type { FlowEngine } from '../embedded/api.ts';
import { createEngine } from '../embedded/create-engine.ts';
import { givenSettings } from '../embedded/engine-settings.ts';
import { lockHome } from '../store/home-lock.ts';
import type { RunRef } from '../store/run-store.ts';
import { choosePlugins } from './plugin-choice.ts';

export async function takeUpInterruptedRuns(settings: Settings, log: Logger, parts: CliParts): Promise<void> {
  const { values } = settings;
  const home = resolve(values.FLOWOPS_HOME);
  const locked = lockHome(home);
  if (locked.result === 'taken') throw new FlowopsError('CONFIG_INVALID', locked.message);
  const policy = values.SANDBOX_POLICY;
  const options = {
    home,
    plugins: choosePlugins({ settings: values }),
    ...(policy === undefined ? {} : { policy: resolve(policy) }),
    settings: { ...givenSettings(settings), LOG_LEVEL: values.LOG_LEVEL },
    log,
  };
  const engine = await createEngine(options, parts);
  const onSignal = () => void engine.close().then(() => process.exit(EXIT.done));
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  try {
    const interrupted = await engine.interruptedRuns();
    if (policy === undefined && interrupted.length > 0) throw needsPolicy(interrupted);
    log.info({ runs: interrupted.length }, 'taking up interrupted runs');
    await Promise.all(interrupted.map((run) => finish(engine, run, log)));
    log.info('no unfinished run is left; new runs are started with `flowops run`, or by Kafka with the service');
  } finally {
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
    await engine.close();
    locked.lock.release();
  }
}

/** Under the strict policy they would fail, although nothing is wrong with them. */
function needsPolicy(runs: readonly RunRef[]): FlowopsError {
  const names = runs.slice(0, 5).map(({ runId }) => runId);
  const more = runs.length > names.length ? ` and ${runs.length - names.length} more` : '';
  return new FlowopsError(
    'CONFIG_INVALID',
    `set SANDBOX_POLICY to take up ${names.join(', ')}${more}: without it the policy is strict and would refuse their plugins; or take one up as your own with \`flowops run --resume RUN\``,
  );
}

async function finish(engine: FlowEngine, ref: RunRef, log: Logger): Promise<void> {
  try {
    const run = await engine.resume(ref.runId);
    const { status, error } = await run.result();
    log.info({ ...ref, status, error }, 'an interrupted run has ended');
  } catch (thrown) {
    log.warn({ ...ref }, `the run is left as it is: ${messageOf(thrown)}`);
  }
}

/** `flowops engine` as processes of their own, on real Kafka and Redis, with the plugins and the policy of the bench. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeFolder, scratchFolder } from '../services/scratch.ts';
import { type FlowopsProcess, startFlowops } from '../support/service-process.ts';

/** Long enough that a step which holds its place holds it to the end of the bench. */
const POLICY = `version: 1
defaults: { tier: isolate }
rules:
  - match: { plugin: 'bench.*', unsigned: true }
    tier: isolate
    limits: { wallMs: 600000 }
    concurrent: 64
`;

export interface EngineServices {
  readonly brokers: string;
  readonly redisUrl: string;
  readonly registry: string;
  /** Prefix of the topics and name of the group: engines of one name share their runs. */
  readonly name: string;
}

export function topicsOf(name: string): { commands: string; status: string; outcomes: string; deadLetters: string } {
  const topic = (kind: string) => `${name}.${kind}`;
  return {
    commands: topic('commands'),
    status: topic('status'),
    outcomes: topic('outcomes'),
    deadLetters: topic('dlq'),
  };
}

export class EngineProcesses {
  readonly #services: EngineServices;
  readonly #folder = scratchFolder();
  /** File of a policy that lets the plugins of the bench run in isolates. */
  readonly policy: string;
  readonly #started: FlowopsProcess[] = [];

  constructor(services: EngineServices) {
    this.#services = services;
    this.policy = join(this.#folder, 'policy.yaml');
    writeFileSync(this.policy, POLICY);
  }

  /** Resolves when it takes commands. @param env further settings */
  async start(env: Readonly<Record<string, string>> = {}): Promise<FlowopsProcess> {
    const engine = this.launch(env);
    await engine.stderr.until('the engine to be ready', (lines) =>
      lines.find((line) => line.includes('"the engine is ready"')),
    );
    return engine;
  }

  /** Starts one without waiting. @param home its FLOWOPS_HOME: one that was killed leaves its own to the next */
  launch(env: Readonly<Record<string, string>> = {}, home = `home-${this.#started.length}`): FlowopsProcess {
    const { brokers, redisUrl, registry, name } = this.#services;
    const topics = topicsOf(name);
    const homeFolder = join(this.#folder, home);
    mkdirSync(homeFolder, { recursive: true });
    const settings = {
      KAFKA_BROKERS: brokers,
      KAFKA_GROUP_ID: name,
      KAFKA_COMMANDS_TOPIC: topics.commands,
      KAFKA_STATUS_TOPIC: topics.status,
      KAFKA_OUTCOMES_TOPIC: topics.outcomes,
      KAFKA_DLQ_TOPIC: topics.deadLetters,
      REDIS_URL: redisUrl,
      PLUGIN_DIR: registry,
      SANDBOX_POLICY: this.policy,
      FLOWOPS_HOME: homeFolder,
      HTTP_PORT: '0',
    };
    const engine = startFlowops(['engine'], { cwd: this.#folder, env: { ...settings, ...env } });
    this.#started.push(engine);
    return engine;
  }

  /** Ends all that still run. */
  async close(): Promise<void> {
    for (const engine of this.#started) engine.signal('SIGTERM');
    for (const engine of this.#started) await engine.exited;
    removeFolder(this.#folder);
  }
}

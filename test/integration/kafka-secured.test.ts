/** Brokers that ask who is there: TLS with certificates, SASL with a user; and what is said when they do not believe it. */
import { randomUUID } from 'node:crypto';
import { type KafkaTransport, openKafkaTransport } from '@flowops/engine/commands/kafka-transport.ts';
import { KafkaUnavailable } from '@flowops/engine/publishing/kafka-client.ts';
import { readKafkaSecurity } from '@flowops/engine/publishing/kafka-security.ts';
import { readSettings } from '@flowops/proto/settings-reader.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { newAuthority } from '../services/certificates.ts';
import { type KafkaService, startKafka } from '../services/kafka.ts';
import { type SecuredListeners, securedListeners } from '../services/kafka-secured.ts';
import { CERTAIN, RecordingSink, recordingLog, until } from './kafka-world.ts';

let secured: SecuredListeners;
let kafka: KafkaService;
const opened: (() => Promise<void>)[] = [];
beforeAll(async () => {
  secured = await securedListeners();
  kafka = await startKafka({ secured });
});
afterAll(() => kafka.stop());
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

describe('a broker that asks for a certificate', () => {
  it('takes the engine that shows one of its authority, and is read and written', async () => {
    const client = secured.authority.issue('engine');
    const env = { KAFKA_TLS_CA: secured.authority.ca, KAFKA_TLS_CERT: client.cert, KAFKA_TLS_KEY: client.key };
    await readsAndWrites(secured.tlsBrokers, env);
  });

  it('is told by name when it is not believed, at once', async () => {
    const stranger = newAuthority();
    const client = secured.authority.issue('engine');
    const env = { KAFKA_TLS_CA: stranger.ca, KAFKA_TLS_CERT: client.cert, KAFKA_TLS_KEY: client.key };
    const opening = open(secured.tlsBrokers, env);
    await expect(opening).rejects.toBeInstanceOf(KafkaUnavailable);
    await expect(opening).rejects.toThrow(/were reached, but no TLS connection came about: .*Correct KAFKA_TLS_CA/);
  });

  it('refuses an engine that shows none, and its words are shown', async () => {
    const opening = open(secured.tlsBrokers, { KAFKA_TLS_CA: secured.authority.ca });
    await expect(opening).rejects.toThrow(/KAFKA_TLS_CERT/);
  });
});

describe('a broker that asks for a user', () => {
  it.each(['plain', 'scram-sha-256', 'scram-sha-512'])(
    'takes the engine with %s, and is read and written',
    async (mechanism) => {
      await readsAndWrites(secured.saslBrokers, sasl(mechanism, secured.user.password));
    },
  );

  it.each(['plain', 'scram-sha-512'])('is told at once to have refused the password (%s)', async (mechanism) => {
    const opening = open(secured.saslBrokers, sasl(mechanism, 'wrong'));
    await expect(opening).rejects.toBeInstanceOf(KafkaUnavailable);
    await expect(opening).rejects.toThrow(/did not accept the user engine: .*Correct KAFKA_SASL_MECHANISM/);
    await expect(opening).rejects.not.toThrow('wrong');
  });
});

function sasl(mechanism: string, password: string): Record<string, string> {
  return {
    KAFKA_TLS_CA: secured.authority.ca,
    KAFKA_SASL_MECHANISM: mechanism,
    KAFKA_SASL_USERNAME: secured.user.name,
    KAFKA_SASL_PASSWORD: password,
  };
}

async function open(brokers: string, env: Record<string, string>): Promise<KafkaTransport> {
  const settings = await readSettings({ env: { ...env, KAFKA_BROKERS: brokers } });
  if (!settings.ok) throw new Error(settings.problems.join());
  const id = randomUUID();
  const transport = await openKafkaTransport({
    ...{ brokers: [brokers], clientId: 'flowops-test', groupId: id, statusEncoding: 'object', partitions: 2 },
    security: readKafkaSecurity(settings.settings.values),
    topics: {
      commands: `${id}.commands`,
      status: `${id}.status`,
      outcomes: `${id}.outcomes`,
      deadLetters: `${id}.dlq`,
    },
    log: recordingLog().log,
  });
  opened.push(() => transport.close());
  return transport;
}

async function readsAndWrites(brokers: string, env: Record<string, string>): Promise<void> {
  const transport = await open(brokers, env);
  const sink = new RecordingSink();
  const consumer = await transport.consume(sink, CERTAIN);
  opened.push(() => consumer.close(AbortSignal.timeout(5000)));
  await transport.publisher.publish({ flowId: 'flow', runId: 'run' }, ['{"sequence":1}']);
  await until('the partitions', () => sink.told.includes('assigned 0,1'));
}

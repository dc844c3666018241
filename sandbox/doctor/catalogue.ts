/** Every hostile case that a machine can be tried with, in the order of their numbers. */
import type { HostileCase } from './case.ts';
import { CONTAINER_CASES } from './cases/container.ts';
import { CONTAINER_EXHAUSTION_CASES } from './cases/container-exhaustion.ts';
import { PROCESS_CASES } from './cases/container-processes.ts';
import { ESCAPE_CASES } from './cases/escape.ts';
import { EXHAUSTION_CASES } from './cases/exhaustion.ts';
import { HOST_CALL_CASES } from './cases/host-calls.ts';
import { POLICY_CASES } from './cases/policy.ts';
import { RPC_CASES } from './cases/rpc.ts';
import { UNREACHABLE_CASES } from './cases/unreachable.ts';
import { WORKER_CASES } from './cases/worker.ts';

export const HOSTILE_CASES: readonly HostileCase[] = [
  ...ESCAPE_CASES,
  ...EXHAUSTION_CASES,
  ...CONTAINER_EXHAUSTION_CASES,
  ...CONTAINER_CASES,
  ...PROCESS_CASES,
  ...HOST_CALL_CASES,
  ...RPC_CASES,
  ...POLICY_CASES,
  ...UNREACHABLE_CASES,
  ...WORKER_CASES,
].sort((a, b) => Number(a.id) - Number(b.id));

/** Case 57: the guest has left V8 and is the worker's process. What it then can reach is what the jail leaves it. */

import { ownModule } from '@flowops/proto/own-module.ts';
import { bundleOf } from '../bundle.ts';
import type { HostCase } from '../case.ts';
import { ends } from '../case.ts';
import { runStep } from '../step.ts';
import { policyText } from '../test-policy.ts';

const PLACE = { tier: 'isolate', runtime: 'isolated-vm' } as const;
const LOOK = {
  name: 'doctor.escaped',
  attempt: { ...ends('looks around', 'COMPLETED', ''), outputs: { found: 'json' } },
} as const;
const BURN = {
  name: 'doctor.burner',
  attempt: {
    ...ends('burns and tells 0 ms of CPU', 'LIMIT_CPU', ''),
    inputs: { do: 'burn' },
    limits: { cpuMs: 500, wallMs: 60_000 },
  },
} as const;

export const WORKER_CASES: readonly HostCase[] = [
  {
    kind: 'host',
    id: '57',
    title: 'who has left V8 finds no file, process, socket or variable outside, and cannot hide its CPU',
    run: async (bench) => {
      const entry = ownModule('../escaped-host', import.meta.url);
      const host = await bench.openHost({ policy: policyText([LOOK, BURN], PLACE), entry });
      const looked = await runStep(host.process, bundleOf(LOOK.name, LOOK.attempt));
      const problems: string[] = [];
      if (looked.ending !== 'COMPLETED') problems.push(`it ended ${looked.ending} (${looked.message})`);
      else if (JSON.stringify(looked.outputs) !== '{"found":[]}')
        problems.push(`it found ${JSON.stringify(looked.outputs)}`);
      if (looked.receipt !== null && looked.receipt.jail === 'none') problems.push('it was not jailed');
      const burnt = await runStep(host.process, bundleOf(BURN.name, BURN.attempt), { inputs: BURN.attempt.inputs });
      if (burnt.ending !== 'LIMIT_CPU')
        problems.push(`a burner that tells 0 ms ended ${burnt.ending} (${burnt.message})`);
      return [...problems, ...(await host.close())];
    },
  },
];

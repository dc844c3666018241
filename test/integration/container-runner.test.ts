/** The real runner of a step container as a plain child process, spoken to over the real protocol. */
import { runnerSteps } from '../support/step-host.ts';
import { guestFetchSuite } from './guest-fetch-suite.ts';
import { guestSuite } from './guest-suite.ts';

const steps = runnerSteps();
guestSuite(steps);
guestFetchSuite(steps);

/** The sentence a person reads when the host ended a step of either tier: what happened, and what to change. */
import type { ErrorCode } from '@flowops/proto/errors.ts';
import type { TierRequest } from '../tier.ts';

export function explainEnd(code: ErrorCode, detail: string, request: TierRequest): string {
  const step = `step ${request.stepId} (${request.bundle.manifest.name})`;
  const { limits, rule } = request;
  switch (code) {
    case 'LIMIT_WALL':
      return `${step} was ended: ${detail}. Make it faster, or raise limits.wallMs (${limits.wallMs}) in ${rule}`;
    case 'LIMIT_CPU':
      return `${step} was ended: ${detail}. Let it compute less, or raise limits.cpuMs (${limits.cpuMs}) in ${rule}`;
    case 'LIMIT_MEMORY':
      return `${step} was ended: ${detail}. Let it hold less, or raise limits.memoryMb (${limits.memoryMb}) in ${rule}`;
    case 'LIMIT_LOG':
      return `${step} was ended: ${detail}. Let it log less; limits.logBytes is ${limits.logBytes} in ${rule}`;
    case 'LIMIT_OUTPUT':
      return `${step} was ended: ${detail}. Let it return less, or raise limits.outputBytes (${limits.outputBytes}) in ${rule}`;
    case 'LIMIT_HOST_CALLS':
      return `${step} was ended: ${detail}. Let it make fewer, or raise limits.hostCalls (${limits.hostCalls}) in ${rule}`;
    case 'SANDBOX_CRASHED':
      return `${step} was ended: ${detail}, and no limit explains it. Run it alone with \`flowops sandbox run\` to see why`;
    default:
      return `${step} was ended: ${detail}`;
  }
}

/** URL from the part that the worker keeps; the bundler puts this in place of url.ts where there is such a worker. */
import { loadPart } from './parts.ts';
import type { Url } from './url.ts';

export const requireUrl = (): Url => loadPart('url') as Url;

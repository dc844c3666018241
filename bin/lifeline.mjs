/**
 * Ends this process when the one that stands in for it (run-as.mjs) was killed without a chance to pass that on. The
 * other end of a pipe, kept open by the stand-in and by nobody else, is the sign: the kernel closes it in any case.
 */
import { Socket } from 'node:net';

const LIFELINE_FD = 3;

export function watchLifeline() {
  const lifeline = new Socket({ fd: LIFELINE_FD, readable: true, writable: false });
  // Nothing is ever sent; the end is the message. A stand-in that was killed outright has us killed outright.
  const die = () => process.kill(process.pid, 'SIGKILL');
  lifeline.on('end', die);
  lifeline.on('error', die);
  lifeline.resume();
  lifeline.unref();
}

/** The Result frame of an attempt. */
import type { PeerMessageInit } from '@flowops/proto/peer.ts';
import { Status } from '@flowops/proto/sandbox_pb.js';
import { ownFrames } from './own-frames.ts';
import type { RunEnd, RunOutcome } from './run-end.ts';

export type ResultInit = Extract<PeerMessageInit, { case: 'result' }>['value'];

/** @param run what is known of an attempt whose code ran, and the file name of its frames. */
export function resultMessage(
  token: Uint8Array,
  end: RunEnd,
  run?: { outcome?: RunOutcome; file: string },
): ResultInit {
  const about = {
    token,
    ...(run?.outcome === undefined
      ? {}
      : {
          receiptJson: Buffer.from(JSON.stringify(run.outcome.usage)),
          droppedLogLines: run.outcome.droppedLogLines,
        }),
  };
  switch (end.status) {
    case 'COMPLETED':
      return { ...about, status: Status.COMPLETED, outputsJson: Buffer.from(end.outputsJson) };
    case 'CANCELLED':
      return { ...about, status: Status.CANCELLED, code: 'CANCELLED', message: end.message };
    case 'FAILED':
      return {
        ...about,
        status: Status.FAILED,
        code: end.code,
        message: end.message,
        stack: run === undefined ? '' : ownFrames(end.stack, run.file),
        notRetryable: !end.isRetryable,
        retryAfterMs: end.retryAfterMs,
      };
  }
}

/**
 * What the two threads of a runner say to each other: the main thread, which speaks to the host and owns every limit,
 * and the guest thread, which runs the plugin. A call of the guest waits for its answer, as in an isolate: a flood of
 * calls brakes the plugin, and an answer that is never given holds it for good.
 */
import type { MessagePort } from 'node:worker_threads';
import type { Thrown } from '@flowops/sdk/thrown.ts';

/** `context`: the globals of proto/guest-globals.ts and nothing else. `node`: a manifest with `runtime: "node"`. */
export type GuestMode = 'context' | 'node';

/** Given to the guest thread at its start. */
export interface ThreadData {
  readonly commands: MessagePort;
  /** Answers to calls that are text. */
  readonly answers: MessagePort;
  readonly shared: Int32Array;
  /** Of the runner's files. */
  readonly folder: string;
}

/** Places in `ThreadData.shared`. */
export const SHARED = {
  /** Counts the answers; the guest thread waits for it to move. */
  turn: 0,
  /** 1: the answer is text and was posted before the turn moved. */
  isText: 1,
  /** The answer when it is a number. */
  value: 2,
} as const;
export const SHARED_INTS = 3;

/** Main thread to guest thread. */
export type ThreadCommand =
  | {
      readonly kind: 'load';
      readonly source: string;
      readonly file: string;
      readonly mode: GuestMode;
      readonly isWasmAllowed: boolean;
    }
  | { readonly kind: 'run'; readonly settingsJson: string; readonly inputsJson: string }
  | { readonly kind: 'enter'; readonly op: number; readonly values: readonly (number | string)[] };

/** Guest thread to main thread. */
export type ThreadMessage =
  | { readonly kind: 'call'; readonly op: number; readonly a?: unknown; readonly b?: unknown; readonly c?: unknown }
  /** The bundle is compiled; no line of it has been evaluated. */
  | { readonly kind: 'loaded' }
  /** The bundle is not one that can be run. */
  | { readonly kind: 'invalid'; readonly problem: string }
  /** The module is evaluated; its task begins. */
  | { readonly kind: 'entering' }
  /** A command was carried out, or the task has begun; the plugin may wait for something. */
  | { readonly kind: 'entered' }
  /** What nobody in the plugin caught. */
  | { readonly kind: 'thrown'; readonly thrown: Thrown };

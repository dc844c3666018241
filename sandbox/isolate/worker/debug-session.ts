/**
 * The debugger's session with one isolate: messages of the DevTools protocol come and go as host calls. The plugin
 * begins when the debugger says that it is ready, and stops at the plugin's first line.
 */
import {
  DEBUG_RECEIVE,
  DEBUG_SEND,
  type DebugEvent,
  debugEventSchema,
  MAX_DEBUG_MESSAGE_LENGTH,
} from '@flowops/proto/debug-messages.ts';
import { isJsonObject, type JsonObject, parseJson } from '@flowops/proto/json.ts';
import type ivm from 'isolated-vm';
import type { CallAnswer } from '../../guest/step-events.ts';

/** Guest calls count from 1 and never come here. */
const FIRST_CALL_ID = 2 ** 31;
/** Ids of our own commands: no client counts so far. */
const OWN_IDS_FROM = 2 ** 31 - 16;

export interface DebugOptions {
  readonly isolate: ivm.Isolate;
  /** Name of the plugin's script. */
  readonly file: string;
  /** Sends a host call; its answer comes to `reply`. */
  readonly send: (callId: number, method: string, payloadJson: string) => void;
  /** The debugger is ready: the plugin may begin. Called once. */
  readonly begin: () => void;
}

export class DebugSession {
  readonly #options: DebugOptions;
  readonly #waiting = new Map<number, (answer: CallAnswer) => void>();
  #nextCallId = FIRST_CALL_ID;
  #session: ivm.InspectorSession | undefined;
  #hasBegun = false;
  #isClosed = false;

  constructor(options: DebugOptions) {
    this.#options = options;
    void this.#receive();
  }

  /** False when no such call waits. */
  reply(callId: number, answer: CallAnswer): boolean {
    const resolve = this.#waiting.get(callId);
    this.#waiting.delete(callId);
    resolve?.(answer);
    return resolve !== undefined;
  }

  /** The isolate goes on alone. MUST come before it is disposed. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#detach();
    this.#waiting.clear();
  }

  async #receive(): Promise<void> {
    while (!this.#isClosed) {
      const answer = await this.#call(DEBUG_RECEIVE, {});
      const event = answer.ok ? readEvent(answer.payloadJson) : undefined;
      if (this.#isClosed) return;
      if (event === undefined) return this.#detach(); // nobody debugs any more
      this.#take(event);
    }
  }

  #take(event: DebugEvent): void {
    switch (event.event) {
      case 'attached':
        this.#detach();
        this.#attach();
        return;
      case 'detached':
        this.#detach();
        return;
      case 'message':
        this.#session?.dispatchProtocolMessage(event.message);
        if (!this.#hasBegun && methodOf(event.message) === 'Runtime.runIfWaitingForDebugger') this.#begin();
        return;
    }
  }

  #attach(): void {
    const session = this.#options.isolate.createInspectorSession();
    session.onResponse = (callId: number, message: string) => {
      if (callId < OWN_IDS_FROM) this.#tell(message, callId);
    };
    session.onNotification = (message: string) => this.#tell(message);
    this.#session = session;
  }

  #detach(): void {
    this.#session?.dispose();
    this.#session = undefined;
  }

  #begin(): void {
    this.#hasBegun = true;
    const { file, begin } = this.#options;
    // Where V8 finds the first statement at or after this place. A pause without a place is forgotten by a module.
    const params = { url: file, lineNumber: 0, columnNumber: 0 };
    this.#session?.dispatchProtocolMessage(
      JSON.stringify({ id: OWN_IDS_FROM, method: 'Debugger.setBreakpointByUrl', params }),
    );
    begin();
  }

  #tell(message: string, callId?: number): void {
    const error = { code: -32_000, message: 'the answer is too large for the sandbox protocol' };
    const fits = message.length <= MAX_DEBUG_MESSAGE_LENGTH;
    if (!fits && callId === undefined) return;
    void this.#call(DEBUG_SEND, { message: fits ? message : JSON.stringify({ id: callId, error }) });
  }

  #call(method: string, payload: object): Promise<CallAnswer> {
    const callId = this.#nextCallId++;
    return new Promise((resolve) => {
      this.#waiting.set(callId, resolve);
      this.#options.send(callId, method, JSON.stringify(payload));
    });
  }
}

function readEvent(payloadJson: string): DebugEvent | undefined {
  const parsed = parseJson(payloadJson);
  return debugEventSchema.safeParse(parsed.ok ? parsed.value : undefined).data;
}

function methodOf(message: string): string | undefined {
  const parsed = parseJson(message);
  const value: JsonObject = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
  return typeof value.method === 'string' ? value.method : undefined;
}

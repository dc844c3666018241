/**
 * Between the debugger of a person and the plugin of one attempt: messages that came for the plugin wait here until
 * its worker asks for them, and what the isolate says goes out as it comes.
 */
import {
  DEBUG_RECEIVE,
  DEBUG_SEND,
  type DebugEvent,
  debugSendSchema,
  MAX_DEBUG_MESSAGE_LENGTH,
} from '@flowops/proto/debug-messages.ts';
import { parseJson } from '@flowops/proto/json.ts';
import { openInspectServer } from './inspect-server.ts';

/** A debugger sends some tens of commands when it attaches. */
const MAX_WAITING_EVENTS = 10_000;

export interface DebuggerBridge {
  readonly url: string;
  readonly devtoolsUrl: string;
  /** For AttemptListener. */
  onHostCall(call: { method: string; payloadJson: string }): Promise<string>;
  close(): Promise<void>;
}

export interface DebuggerBridgeOptions {
  readonly port: number;
  readonly title: string;
  readonly onAttached: () => void;
}

export async function openDebuggerBridge(options: DebuggerBridgeOptions): Promise<DebuggerBridge> {
  const waiting: DebugEvent[] = [];
  let wanted: ((event: DebugEvent) => void) | undefined;
  const push = (event: DebugEvent): void => {
    const take = wanted;
    wanted = undefined;
    if (take !== undefined) take(event);
    else if (waiting.length < MAX_WAITING_EVENTS) waiting.push(event);
  };
  const next = (): Promise<DebugEvent> => {
    const event = waiting.shift();
    return event === undefined ? new Promise((resolve) => (wanted = resolve)) : Promise.resolve(event);
  };
  const server = await openInspectServer({
    port: options.port,
    title: options.title,
    onAttached: () => {
      options.onAttached();
      push({ event: 'attached' });
    },
    onMessage: (message) => {
      if (message.length <= MAX_DEBUG_MESSAGE_LENGTH) push({ event: 'message', message });
    },
    onDetached: () => push({ event: 'detached' }),
  });
  return {
    url: server.url,
    devtoolsUrl: server.devtoolsUrl,
    onHostCall: async ({ method, payloadJson }) => {
      if (method === DEBUG_RECEIVE) return JSON.stringify(await next());
      if (method === DEBUG_SEND) {
        const parsed = parseJson(payloadJson);
        const sent = debugSendSchema.safeParse(parsed.ok ? parsed.value : undefined);
        if (sent.success) server.send(sent.data.message);
      }
      return '{}';
    },
    close: () => server.close(),
  };
}

/**
 * The definition of a run as it is stored and scheduled: what plan.ts made of a START, with each plugin's version
 * pinned by digest (G8). Written once, never changed.
 */
import type { Json, JsonObject } from '@flowops/proto/json.ts';
import type { InputDeclaration, OutputDeclaration } from '@flowops/proto/manifest.ts';

export interface PinnedPlugin {
  readonly pluginId: string;
  /** The manifest's name. */
  readonly name: string;
  readonly version: string;
  /** `sha256:…` of the bundle; every attempt of the run uses exactly these bytes. */
  readonly digest: string;
  readonly inputs: Readonly<Record<string, InputDeclaration>>;
  readonly outputs: Readonly<Record<string, OutputDeclaration>>;
}

export interface PlannedStep {
  readonly stepId: string;
  /** Index into `plugins`. */
  readonly plugin: number;
  /** As written, references included; any JSON. */
  readonly inputs: JsonObject;
  /** Every step that must have completed first: `dependsOn` and the references, each once. */
  readonly after: readonly string[];
  /** Wall limit asked for, ms. */
  readonly timeoutMs?: number;
}

export interface FlowDefinition {
  readonly plugins: readonly PinnedPlugin[];
  readonly steps: readonly PlannedStep[];
  /** The run's own inputs. */
  readonly inputs: JsonObject;
}

export type OutputLookup = (stepId: string, key: string) => Json | undefined;

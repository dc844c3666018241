/** A plugin with a dependency from npm: `plugin build` puts the package into the bundle. */
import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';
import { parse } from 'yaml';

@TaskType({ name: 'example.read-config', version: '1.0.0', description: 'Reads YAML and gives one value of it.' })
export default class ReadConfig extends BaseTask {
  @Input({ type: 'string', description: 'YAML text' })
  text!: string;

  @Input({ type: 'string', description: 'Keys joined by dots, "server.port"; empty for everything' })
  path = '';

  @Output({ type: 'json', description: 'The value there; null when there is none' })
  value: unknown = null;

  start() {
    const keys = this.path === '' ? [] : this.path.split('.');
    this.value = keys.reduce<unknown>(valueAt, parse(this.text)) ?? null;
  }
}

function valueAt(holder: unknown, key: string): unknown {
  if (typeof holder !== 'object' || holder === null || !Object.hasOwn(holder, key)) return undefined;
  return (holder as Record<string, unknown>)[key];
}

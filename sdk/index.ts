/** `@flowops/sdk`: what a plugin's author imports. No dependency at run time. */
export { BaseTask, type TaskInit } from './base-task.ts';
export type { Logger, TaskContext } from './context.ts';
export { Input, Output, TaskType } from './decorators.ts';
export {
  type DefinedTask,
  defineTask,
  type InputDefinition,
  type InputValues,
  type OutputDefinition,
  type OutputValues,
  type RunArguments,
  type TaskDefinition,
} from './define-task.ts';
export type {
  InputOptions,
  JsonValue,
  OutputOptions,
  Permissions,
  TaskOptions,
  ValueType,
  ValueTypes,
} from './metadata.ts';
export { TaskError, type TaskErrorOptions } from './task-error.ts';

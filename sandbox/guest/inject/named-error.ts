/** Errors that the standards tell apart by their name. There is no DOMException here: they are plain errors. */
export function namedError(name: string, message: string): Error {
  const error = new Error(message);
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  return error;
}

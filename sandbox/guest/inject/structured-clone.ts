/** structuredClone over @ungap/structured-clone; there is nothing a plugin could transfer to. */
import { deserialize, serialize } from '@ungap/structured-clone';

export function structuredClone(value: unknown): unknown {
  return deserialize(serialize(value));
}

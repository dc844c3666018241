/**
 * URLs that the URL standard leaves as they are: most that a plugin fetches. They need no parser, whose tables take some
 * ten milliseconds to load. Whoever is in doubt says undefined. https://url.spec.whatwg.org/
 */

/** Lower-case names, no number and no punycode as a label, no dot at the end; a path of characters that are never encoded. */
const PLAIN =
  /^(https?):\/\/((?:[a-z](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?)(:[1-9][0-9]{0,4})?(\/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*)?(\?[A-Za-z0-9\-._~!$&()*+,;=:@/?]*)?$/;
const DOT_SEGMENT = /\/\.{1,2}(?:\/|$)/;
/** A label of ASCII with hyphens in the third and fourth place is for IDNA to judge. */
const IDNA_LABEL = /(?:^|\.)..--/;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: ':80', https: ':443' };
const MAX_PORT = 65_535;

/** The URL as the standard would write it, or undefined where that takes a parser. */
export function plainUrl(text: string): string | undefined {
  const [, scheme = '', host = '', port = '', path = '/', query = ''] = PLAIN.exec(text) ?? [];
  if (scheme === '' || IDNA_LABEL.test(host) || DOT_SEGMENT.test(path)) return undefined;
  if (port === DEFAULT_PORTS[scheme] || Number(port.slice(1)) > MAX_PORT) return undefined;
  return `${scheme}://${host}${port}${path}${query}`;
}

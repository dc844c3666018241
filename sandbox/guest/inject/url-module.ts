/** Entry of the part that url-part.ts loads. */
import * as parser from 'whatwg-url';

export const { URL, URLSearchParams } = parser;

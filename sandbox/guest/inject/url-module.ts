/** Entry of the part that url-part.ts loads. */
export { URL, URLSearchParams } from 'whatwg-url';

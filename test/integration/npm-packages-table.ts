/** What the plugins of test/fixtures/npm-packages give in the sandbox; where a package does not work, how that shows. */
import type { Json } from '@flowops/proto/json.ts';

/** In both tiers, after a plain build. */
export const WORKING: Readonly<Record<string, Json>> = {
  'lodash-es': [[[1, 2], [3]], { 4: [4.2], 6: [6.1, 6.3] }, 'fooBar', true, ['last'], 'Ada!'],
  'date-fns': [28, 'Saturday 28 February 2026 at 04:05', '3 Tage'],
  dayjs: ['2026-02-28', '2026-07-01T16:00:00Z'],
  luxon: ['2026-03-29T03:30:00.000+02:00', '29 mars', 47],
  zod: [
    3,
    [
      [['page'], 'Invalid URL'],
      [['count'], 'Too small: expected number to be >0'],
    ],
    ['a'],
  ],
  ajv: [true, false, ['must NOT have additional properties', 'must be >= 1']],
  uuid: [100, 'cfbff0d1-9375-5685-968c-48ce8b15ae17', 7, 15],
  nanoid: [21, 100, true],
  yaml: [{ x: [1, 2], y: [1, 2], z: 'text\n' }, 'a: yes\nb: null\n', '# kept\na: 1\nb:\n  - 1\n  - 2\n'],
  'csv-parse': [
    { name: 'Ada, Lady', age: 36 },
    { name: 'Émile', age: 28 },
  ],
  papaparse: [[{ a: 1, b: 'x, y' }], 'a,b\r\n1,"x, y"'],
  marked: '<h1>Hi</h1>\n<ul>\n<li><em>a</em> &amp; <code>b</code></li>\n</ul>\n',
  handlebars: 'ADA <a&amp;b>, BOB <c>',
  mustache: 'Ada a&b a&amp;b;',
  'fast-xml-parser': [{ a: { b: ['x & y', 2], '@_id': '1' } }, '<a id="1"><b>x &amp; y</b><b>2</b></a>', 'InvalidTag'],
  semver: [true, '1.3.0', ['1.10.0', '1.10.0-rc.1', '1.9.0']],
  ramda: [6, ['a', 'b'], { a: { b: 1 } }, { odd: [1, 3], even: [2] }],
  rxjs: [[0, 1, 3], [10, 20], 'TimeoutError'],
  'p-limit': [[2, 4, 6, 8], 2],
  qs: [{ a: { b: ['1', '2'] }, c: 'ü' }, 'a[b][]=x&a[b][]=y%20z&d=1970-01-01T00%3A00%3A00.000Z'],
  cheerio: [['One', 'Two & three'], '/x', '<li class="a" id="first">One</li><li>Two &amp; three</li>'],
  'decimal.js': ['0.3', '1.414213562373095048800000000000', true],
  fflate: [true, true, 'é'],
  'pdf-lib': ['%PDF-', 1, { width: 200, height: 100 }],
  bcryptjs: [true, false],
  '@noble/hashes': '6afa9046a9579cad143a384c1b564b9a250d27d6f6a63f9f20bf3a7594c9e2c6',
  ky: ['https://api.example.com/v1/unready?q=a+b', 2, 'POST', '{"a":1}', ['HTTPError', 404]],
  axios: [200, 'https://api.example.com/things?q=a+b', 'POST', '{"a":1}', ['AxiosError', 404]],
  '@octokit/core': [200, 'https://api.example.com/repos/ada/engine', ['HttpError', 404]],
  '@aws-sdk/client-s3': [200, 'GET', 'https://api.example.com/reports/a.txt?x-id=GetObject', 404],
  'web-streams-polyfill': [2, 4, 6],
  jszip: 'é',
  'p-queue': ['low', 'high', 'then low'],
  openai: ['POST', 'hello', 'Error: Attempted to iterate over a response with no body'],
  stripe: ['POST', 'email=ada%40example.com&metadata[a]=1', ['StripeInvalidRequestError', 404]],
  jose: [{ alg: 'HS256' }, { sub: 'ada', exp: 1 }, 'TypeError: crypto.subtle.importKey is not a function'],
};

/** With `runtime: "node"`, in the container tier. */
export const WORKING_FOR_NODE: Readonly<Record<string, Json>> = {
  jsonwebtoken: [{ sub: 'ada' }, 'JsonWebTokenError: invalid signature'],
  'iconv-lite': ['テス', 'e9'],
};

/** With `runtime: "node"`: what they give without their connections, which lead nowhere. */
export const WITHOUT_NETWORK: Readonly<Record<string, Json>> = {
  pg: "'it''s'",
  nodemailer: true,
};

/** Native code: built with a warning for `runtime: "node"`, and what they fail with when they run. */
export const NATIVE: Readonly<Record<string, RegExp>> = {
  sharp: /^Could not load the "sharp" module/,
  bcrypt: /^No native build was found/,
};

/** What `plugin build` says of them. */
export const NOT_BUILT: Readonly<Record<string, RegExp>> = {
  'node-fetch': /node:http ← node-fetch@3/,
};

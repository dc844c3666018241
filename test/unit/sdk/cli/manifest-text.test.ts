import { manifestSchema } from '@flowops/proto/manifest.ts';
import { manifestText } from '@flowops/sdk/cli/manifest-text.ts';
import { describe, expect, it } from 'vitest';

describe('the text of a manifest', () => {
  it('shows inputs, outputs and what the plugin asks for in columns', () => {
    const manifest = manifestSchema.parse({
      name: 'demo.mail',
      version: '1.2.0',
      description: 'Sends\nmail.',
      permissions: { net: ['smtp.example.com:587'], secrets: ['SMTP_PASSWORD'] },
      inputs: {
        to: { type: 'string', description: 'Who gets it' },
        copies: { type: 'integer', required: false, default: 1 },
        cc: { type: 'string', required: false },
      },
      outputs: { messageId: { type: 'string' } },
    });
    expect(manifestText(manifest, 'sha256:abc')).toBe(
      [
        'demo.mail 1.2.0',
        'Sends mail.',
        'sha256:abc',
        'inputs',
        '  to         string   required   Who gets it',
        '  copies     integer  default 1',
        '  cc         string   optional',
        'outputs',
        '  messageId  string',
        'asks for',
        '  network  smtp.example.com:587',
        '  secrets  SMTP_PASSWORD',
        '',
      ].join('\n'),
    );
  });

  it('says none where a plugin declares nothing, and where it can run when not everywhere', () => {
    const manifest = manifestSchema.parse({ name: 'demo.none', version: '1.0.0', runtime: 'node' });
    const text = manifestText(manifest, 'sha256:abc');
    expect(text).toContain('demo.none 1.0.0   (runtime: node, container tier only)');
    expect(text).toContain('inputs\n  none\noutputs\n  none\nasks for\n  network  none\n  secrets  none\n');
  });
});

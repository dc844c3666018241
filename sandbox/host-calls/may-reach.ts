/** What kind of address a grant opens. Deterministic. */
import type { NetGrant } from '@flowops/proto/net-grants.ts';
import type { AddressClass } from './addresses.ts';

/** A name leads to private addresses only by a private grant, and to special ones never: those are to be named. */
export function mayReach(grant: NetGrant, address: AddressClass): boolean {
  switch (address) {
    case 'global':
      return true;
    case 'private':
      return grant.isPrivate;
    case 'special':
      return grant.isPrivate && grant.isLiteral;
  }
}

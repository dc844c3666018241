interface Address {
  readonly street: string;
  readonly city: string;
}

export function addressLine(address: Address): string {
  return `${address.street}, ${cityName(address)}`;
}

function cityName(address: Address): string {
  return address.city.toUpperCase();
}

/** Fails for some data, two calls deep in another file: what is printed leads to the line (see README.md). */
import { BaseTask, Input, Output, TaskType } from '@flowops/sdk';
import { addressLine } from './address.ts';

@TaskType({ name: 'example.shipping-label', version: '1.0.0', description: 'Prints the label of a parcel.' })
export default class ShippingLabel extends BaseTask {
  @Input({ type: 'json', description: '{ name, address: { street, city } }' })
  customer!: { name: string; address: { street: string; city: string } };

  @Output({ type: 'string', description: 'Lines of the label' })
  label = '';

  start() {
    this.logger.info('printing a label', { customer: this.customer.name });
    this.label = [this.customer.name, addressLine(this.customer.address)].join('\n');
  }
}

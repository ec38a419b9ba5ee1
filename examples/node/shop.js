// Counts a product, watches what a channel may sell of it, sells some and ships the order.
//
// Run it against `make run`:  npm install && node shop.js [HOST:PORT]

import { randomUUID } from 'node:crypto';
import { call, connect, watch } from './truestock.js';

const [CHANNEL, SKU, STORE] = ['shopify', 'TRN-1205-MOS', 'store-austin'];

async function main(address) {
  const truestock = connect(address);
  await count(truestock, 40);
  const figures = watch(truestock.availability, 'WatchAvailability', { channel_id: CHANNEL, skus: [SKU] });
  console.log(`watched  ${CHANNEL} may sell ${await nextCount(figures)} of ${SKU}`);
  const allocation = await sell(truestock, 2);
  console.log(`watched  ${CHANNEL} may sell ${await nextCount(figures)} of ${SKU}`);
  await figures.return();
  await ship(truestock, allocation);
}

/** Reports what a person has counted. The change's id makes a repetition harmless. */
async function count(truestock, units) {
  const now = Date.now();
  const change = {
    change_id: `count-${randomUUID()}`,
    sku: SKU,
    location_id: STORE,
    count: { on_hand_count: units },
    effective_time: { seconds: Math.floor(now / 1000), nanos: (now % 1000) * 1_000_000 },
  };
  const { results } = await call(truestock.stock, 'RecordStockChanges', { source: 'stocktake', changes: [change] });
  const result = results[0].result.replace('CHANGE_RESULT_', '').toLowerCase();
  console.log(`counted  ${units} of ${SKU} at ${STORE}: ${result} ${results[0].reason}`.trimEnd());
}

/** The next figure that the watch sends; messages without changes are heartbeats. */
async function nextCount(figures) {
  for (;;) {
    const { value } = await figures.next();
    if (value.changes.length > 0) return value.changes[0].sellable_count;
  }
}

/** Holds the stock while the shopper pays, then confirms. An outcome that is not "allocated" is no error. */
async function sell(truestock, units) {
  const order = {
    channel_id: CHANNEL,
    order_id: `example-${randomUUID()}`,
    lines: [{ sku: SKU, unit_count: units }],
    commitment: 'COMMITMENT_HOLD',
    destination: { country: 'US', region: 'TX' },
  };
  const { allocation: held } = await call(truestock.allocation, 'AllocateOrder', order);
  const until = new Date(held.expire_time.seconds * 1000).toISOString().slice(11, 16);
  console.log(`held     ${units} until ${until} UTC for ${CHANNEL}/${held.order_id}`);
  const { allocation } = await call(truestock.allocation, 'ConfirmAllocation', { allocation_id: held.allocation_id });
  console.log(`sold     ${units}, from ${allocation.shipments.map((shipment) => shipment.location_id).join(', ')}`);
  return allocation;
}

/** Does the work of each location: accepts its shipment, then reports that it has left. */
async function ship(truestock, allocation) {
  let shipped = allocation;
  for (const { shipment_id } of allocation.shipments) {
    await call(truestock.fulfillment, 'AcceptShipment', { shipment_id });
    const request = { shipment_id, event_id: `label-${shipment_id}` };
    ({ allocation: shipped } = await call(truestock.fulfillment, 'ShipShipment', request));
  }
  const status = shipped.status.replace('ORDER_STATUS_', '').toLowerCase();
  console.log(`shipped  ${CHANNEL}/${shipped.order_id}: ${status}`);
}

main(process.argv[2] ?? '127.0.0.1:50051').then(
  () => process.exit(0),
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);

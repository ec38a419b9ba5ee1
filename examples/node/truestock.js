// A small client of Truestock: stubs from the .proto files, deadlines, and retries with the same request id.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const FOLDERS = ['../../protos', '../../third_party/googleapis'];
const FILES = ['allocation', 'availability', 'catalog', 'exception', 'fulfillment', 'policy', 'stock'];
const CALL_SECONDS = 30;
const LONGEST_PAUSE_SECONDS = 5;

const definitions = loader.loadSync(
  [...FILES.map((name) => `truestock/v1/${name}_service.proto`), 'google/rpc/error_details.proto'],
  {
    includeDirs: FOLDERS.map((folder) => fileURLToPath(new URL(folder, import.meta.url))),
    keepCase: true, // unit_count, as in the .proto files
    longs: Number, // versions and sums stay far below 2^53
    enums: String,
    defaults: true, // a figure of 0 is there, not undefined
    oneofs: true,
  },
);
const { v1 } = grpc.loadPackageDefinition(definitions).truestock;

/** The services of the Truestock at `address`, HOST:PORT. */
export function connect(address) {
  const credentials = grpc.credentials.createInsecure();
  const options = {
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 5_000,
    'grpc.enable_http_proxy': 0,
  };
  return Object.fromEntries(
    FILES.map((name) => {
      const service = `${name[0].toUpperCase()}${name.slice(1)}Service`;
      return [name, new v1[service](address, credentials, options)];
    }),
  );
}

/**
 * Makes one call, such as `call(truestock.stock, 'RecordStockChanges', request)`, and repeats it until its deadline
 * while the service says "not now". For writes the request id makes that safe; reads and catalog records need none.
 */
export async function call(service, method, request, seconds = CALL_SECONDS) {
  const deadline = Date.now() + seconds * 1000;
  // Reads have no such field; the loader leaves out what a message does not have.
  const message = { request_id: randomUUID(), ...request };
  for (let backoff = 0.1; ; backoff = Math.min(2 * backoff, LONGEST_PAUSE_SECONDS)) {
    try {
      return await new Promise((resolve, reject) => {
        service[method](message, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
    } catch (error) {
      const asked = retryAfter(error);
      const retry = error.code === grpc.status.UNAVAILABLE || asked !== undefined;
      const pause = (asked ?? 0) + Math.random() * backoff;
      if (!retry || Date.now() + pause * 1000 >= deadline) throw error;
      await sleep(pause * 1000);
    }
  }
}

/**
 * The messages of a watch, such as `watch(truestock.availability, 'WatchAvailability', request)`, without end: after
 * an interruption it resumes after the last message.
 */
export async function* watch(service, method, request) {
  let token = request.resume_token ?? '';
  for (let started = false, pause = 0.1; ; pause = Math.min(2 * pause, LONGEST_PAUSE_SECONDS)) {
    const stream = service[method]({ ...request, resume_token: token });
    try {
      for await (const message of stream) {
        token = message.resume_token || token;
        [started, pause] = [true, 0.1];
        yield message;
      }
    } catch (error) {
      const wrong = [grpc.status.INVALID_ARGUMENT, grpc.status.NOT_FOUND, grpc.status.UNIMPLEMENTED];
      if (!started || wrong.includes(error.code)) throw error;
    } finally {
      stream.cancel();
    }
    await sleep(pause * 1000);
  }
}

/** Seconds to wait, from the RetryInfo of an error; undefined if it has none. */
function retryAfter(error) {
  const bytes = error.metadata?.get('grpc-status-details-bin')[0];
  if (bytes === undefined) return undefined;
  const details = definitions['google.rpc.Status'].deserialize(bytes).details;
  const info = details.find((detail) => detail.type_url.endsWith('/google.rpc.RetryInfo'));
  if (info === undefined) return undefined;
  const { retry_delay: delay } = definitions['google.rpc.RetryInfo'].deserialize(info.value);
  return delay.seconds + delay.nanos / 1e9;
}

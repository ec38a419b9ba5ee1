// Asks a shop by Shopify's own client what standard input says, and answers on standard output.
import { createAdminApiClient } from '@shopify/admin-api-client';
import { readFileSync } from 'node:fs';

const given = JSON.parse(readFileSync(0, 'utf8'));
const client = createAdminApiClient({
  storeDomain: given.domain,
  apiVersion: given.version,
  accessToken: given.token,
  retries: 2,
  // The client calls https://{storeDomain}; the shop of the tests is somewhere else.
  customFetchApi: (url, init) => fetch(String(url).replace(/^https:\/\/[^/]+/, given.address), init),
});
const answers = [];
for (const { query, variables } of given.operations) {
  const { data, errors, extensions } = await client.request(query, { variables });
  answers.push({ data: data ?? null, errors: errors ?? null, extensions: extensions ?? null });
}
process.stdout.write(JSON.stringify(answers));

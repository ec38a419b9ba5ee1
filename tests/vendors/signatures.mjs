// Asks the vendors' own clients which of the webhooks on standard input are genuine, and answers on standard output.
import '@shopify/shopify-api/adapters/node';
import { shopifyApi, ApiVersion } from '@shopify/shopify-api';
import { WebhooksHelper } from 'square';
import { readFileSync } from 'node:fs';

const given = JSON.parse(readFileSync(0, 'utf8'));

function shopify(secret) {
  return shopifyApi({
    apiKey: 'key',
    apiSecretKey: secret,
    hostName: 'shop.example',
    apiVersion: ApiVersion.April26 ?? '2026-04',
    isEmbeddedApp: false,
    logger: { log: () => {} },
  });
}

async function isFromShopify({ body, secret, headers }) {
  const rawRequest = { method: 'POST', url: '/webhooks/shop', headers };
  const result = await shopify(secret).webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} });
  return result.valid;
}

async function isRedirectOfShopify({ query, secret }) {
  return shopify(secret).utils.validateHmac(query);
}

async function isFromSquare({ body, url, key, signature }) {
  return WebhooksHelper.verifySignature({ requestBody: body, signatureHeader: signature, signatureKey: key, notificationUrl: url });
}

const answers = {
  shopify: await Promise.all(given.shopify.map(isFromShopify)),
  redirects: await Promise.all(given.redirects.map(isRedirectOfShopify)),
  square: await Promise.all(given.square.map(isFromSquare)),
};
process.stdout.write(JSON.stringify(answers));

"""What is asked of Shopify's Admin API, as GraphQL. Tests hold each operation against Shopify's own schemas.

Of a destination only country, region, postal code and coordinates are asked: what is not asked cannot leak. One call
may cost at most 1,000 points; a list costs its `first` times what one entry does, so orders are read one by one.
"""

from __future__ import annotations

API_VERSION = "2026-04"
"""The version that is called; the oldest whose `@idempotent` and `changeFromQuantity` are those of later ones."""

ORDER = """
query Order($id: ID!) {
  order(id: $id) {
    id name createdAt updatedAt cancelledAt cancelReason closed test requiresShipping edited
    sourceName sourceIdentifier note customAttributes { key value }
    displayFinancialStatus displayFulfillmentStatus
    retailLocation { id }
    shippingAddress { countryCodeV2 provinceCode zip latitude longitude }
    lineItems(first: 100) {
      nodes { id quantity currentQuantity unfulfilledQuantity requiresShipping isGiftCard sku variant { id } }
      pageInfo { hasNextPage endCursor }
    }
    fulfillmentOrders(first: 20) {
      nodes {
        id status requestStatus fulfillBy
        fulfillmentHolds { reason }
        assignedLocation { location { id } }
      }
      pageInfo { hasNextPage endCursor }
    }
    refunds(first: 50) { id createdAt }
    fulfillments(first: 10) { status fulfillmentLineItems(first: 20) { nodes { quantity lineItem { id } } } }
  }
}
"""

ORDER_LINES = """
query OrderLines($id: ID!, $after: String) {
  order(id: $id) {
    lineItems(first: 100, after: $after) {
      nodes { id quantity currentQuantity unfulfilledQuantity requiresShipping isGiftCard sku variant { id } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""

ORDER_FULFILLMENT_ORDERS = """
query OrderFulfillmentOrders($id: ID!, $after: String) {
  order(id: $id) {
    fulfillmentOrders(first: 100, after: $after) {
      nodes {
        id status requestStatus fulfillBy
        fulfillmentHolds { reason }
        assignedLocation { location { id } }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""

ORDER_REFUNDS = """
query OrderRefunds($id: ID!) {
  order(id: $id) { refunds(first: 250) { id createdAt } }
}
"""

REFUNDS = """
query Refunds($ids: [ID!]!) {
  nodes(ids: $ids) {
    ... on Refund {
      id createdAt updatedAt
      order { id }
      refundLineItems(first: 50) {
        nodes { quantity restockType restocked location { id } lineItem { id isGiftCard variant { id } } }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}
"""

FULFILLMENT_ORDERS = """
query FulfillmentOrders($ids: [ID!]!) {
  nodes(ids: $ids) { ... on FulfillmentOrder { id orderId updatedAt } }
}
"""

CHANGED_ORDERS = """
query ChangedOrders($first: Int!, $after: String, $query: String!) {
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes { id updatedAt }
    pageInfo { hasNextPage endCursor }
  }
}
"""

CHANGED_FULFILLMENT_ORDERS = """
query ChangedFulfillmentOrders($first: Int!, $after: String, $query: String!) {
  fulfillmentOrders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes { id updatedAt }
    pageInfo { hasNextPage endCursor }
  }
}
"""

LEVEL = """
query Level($item: ID!, $location: ID!) {
  inventoryItem(id: $item) {
    id tracked
    variants(first: 1) { nodes { id } }
    inventoryLevel(locationId: $location) {
      updatedAt
      location { id }
      quantities(names: ["on_hand"]) { name quantity }
    }
  }
}
"""

CHANGED_LEVELS = """
query ChangedLevels($location: ID!, $first: Int!, $after: String, $query: String!) {
  location(id: $location) {
    inventoryLevels(first: $first, after: $after, query: $query) {
      nodes { updatedAt item { id } location { id } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""

LOCATIONS = """
query Locations($after: String) {
  locations(first: 100, after: $after, includeInactive: true) {
    nodes { id name isActive shipsInventory fulfillsOnlineOrders }
    pageInfo { hasNextPage endCursor }
  }
}
"""

VARIANTS = """
query Variants($after: String) {
  productVariants(first: 250, after: $after) {
    nodes { id sku inventoryItem { id } }
    pageInfo { hasNextPage endCursor }
  }
}
"""

WEBHOOK_SUBSCRIPTIONS = """
query WebhookSubscriptions($after: String) {
  webhookSubscriptions(first: 100, after: $after) {
    nodes { id topic uri includeFields }
    pageInfo { hasNextPage endCursor }
  }
}
"""

SUBSCRIBE = """
mutation Subscribe($topic: WebhookSubscriptionTopic!, $uri: String!, $includeFields: [String!]!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: {uri: $uri, includeFields: $includeFields}) {
    webhookSubscription { id topic uri }
    userErrors { field message }
  }
}
"""

UNSUBSCRIBE = """
mutation Unsubscribe($id: ID!) {
  webhookSubscriptionDelete(id: $id) {
    deletedWebhookSubscriptionId
    userErrors { field message }
  }
}
"""

INSTALLATION = """
query Installation {
  shop { id name myshopifyDomain }
  currentAppInstallation { accessScopes { handle } }
}
"""

OPERATIONS = {
    "Order": ORDER,
    "OrderLines": ORDER_LINES,
    "OrderFulfillmentOrders": ORDER_FULFILLMENT_ORDERS,
    "OrderRefunds": ORDER_REFUNDS,
    "Refunds": REFUNDS,
    "FulfillmentOrders": FULFILLMENT_ORDERS,
    "ChangedOrders": CHANGED_ORDERS,
    "ChangedFulfillmentOrders": CHANGED_FULFILLMENT_ORDERS,
    "Level": LEVEL,
    "ChangedLevels": CHANGED_LEVELS,
    "Locations": LOCATIONS,
    "Variants": VARIANTS,
    "WebhookSubscriptions": WEBHOOK_SUBSCRIPTIONS,
    "Subscribe": SUBSCRIBE,
    "Unsubscribe": UNSUBSCRIBE,
    "Installation": INSTALLATION,
}
"""Every operation by its name."""

SCOPES = frozenset(
    {
        "read_inventory",
        "read_locations",
        "read_merchant_managed_fulfillment_orders",
        "read_orders",
        "read_products",
    }
)
"""Access scopes that the app needs for these; `read_all_orders` is needed too for orders older than 60 days."""

"""The connectors' own tables: deliveries, entities, cursors, tokens. They know no table of the service."""

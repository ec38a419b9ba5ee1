"""`truestock replay-orders`: reads an export of order lines and sends its orders to a running service."""

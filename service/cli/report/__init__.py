"""`truestock report`: a report of the service as a table, as CSV, and as a page for people who run the shops."""

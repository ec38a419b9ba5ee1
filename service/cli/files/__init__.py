"""CSV files in and out: import of catalogs and stock, order exports, and the replay of an order export."""

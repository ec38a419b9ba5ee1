"""What locations can handle in a day or an hour, and what shipments have taken of it."""

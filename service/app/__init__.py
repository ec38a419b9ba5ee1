"""One running service: start and stop, wiring, process, housekeeping, health and /metrics. No business."""

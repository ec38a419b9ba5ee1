"""Metrics of the running service: its calls, its queue, its database connections and its event loop."""

from __future__ import annotations

from service.metrics.kinds import BATCH_SIZES, Across, MetricMaker


class ServiceMetrics:
    """Durations, sizes of batches, and what was refused because of load."""

    def __init__(self, make: MetricMaker) -> None:
        self.rpc_seconds = make.histogram(
            "rpc_duration_seconds", "Duration of gRPC calls; of a stream, until it ends.", "method", "code"
        )
        self.database_seconds = make.histogram(
            "database_seconds", "Time that an operation used a database connection.", "operation"
        )
        self.event_loop_delay = make.histogram(
            "event_loop_delay_seconds", "How much later than due a timer of the service ran, ten times a second."
        )
        self.batch_orders = make.histogram(
            "allocator_batch_orders", "Orders allocated in one transaction.", buckets=BATCH_SIZES
        )
        self.read_calls = make.histogram(
            "availability_batch_calls", "CheckAvailability calls answered from one stock read.", buckets=BATCH_SIZES
        )
        self.database_up = make.gauge(
            "database_up",
            "1 while the database answers this service, which asks it every second; else 0.",
            across=Across.LOWEST,
        )
        self.workers = make.gauge("workers", "Processes of this service that take calls.", across=Across.SUM)
        self.worker_restarts = make.counter(
            "worker_restarts", "Workers of this service that ended by themselves and were started again."
        )
        self.worker_hangs = make.counter(
            "worker_hangs", "Workers of this service that no longer answered and were ended, to be started again."
        )
        self.database_retries = make.counter("database_retries", "Database transactions retried.", "operation")
        self.queued_orders = make.gauge(
            "allocator_queued_orders", "Orders queued or being allocated.", across=Across.SUM
        )
        self.shed_orders = make.counter(
            "allocator_shed_orders", "Orders rejected because the queue was full or their deadline too near."
        )
        self.shed_calls = make.counter(
            "shed_calls",
            "Calls that only read or bring new orders, refused because the service had more than it could answer.",
            "method",
        )

"""The methods whose calls wait in queues of their own until the server takes them."""

from __future__ import annotations

from google.protobuf import descriptor_pool

from service.app.call_queues import OWN_QUEUES, with_own_queue


def test_each_method_with_a_queue_of_its_own_is_one_of_the_api() -> None:
    pool = descriptor_pool.Default()

    for service_name, methods in OWN_QUEUES.items():
        service = pool.FindServiceByName(service_name)
        assert methods <= set(service.methods_by_name)


def test_the_other_methods_of_a_service_share_a_queue() -> None:
    handlers = {"CheckAvailability": 1, "ListChannelFigures": 2}

    assert with_own_queue("truestock.v1.AvailabilityService", handlers) == {"CheckAvailability": 1}
    assert with_own_queue("truestock.v1.ReportService", {"GetReport": 3}) == {}

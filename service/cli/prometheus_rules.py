"""Asks a Prometheus which alerting rules it has loaded, by its HTTP API."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from service import limits
from service.cli.console import UserError
from truestock.v1.readiness_service_pb2 import PrometheusState

ANSWER_BYTES = 16 << 20
SECONDS = 10.0
_PATH = "/api/v1/rules?type=alert"


def loaded_alerts(url: str) -> PrometheusState:
    """The alerting rules of the Prometheus at a URL such as http://prometheus:9090; its error if it does not answer.

    Raises UserError for what is no URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"{url!r} is no URL of a Prometheus; write it such as http://prometheus:9090")
    try:
        # The scheme was checked: no file is opened.
        with urlopen(Request(url.rstrip("/") + _PATH), timeout=SECONDS) as answer:
            return _state(json.loads(answer.read(ANSWER_BYTES)))
    except HTTPError as error:
        return _failed(url, f"it answered with status {error.code}")
    except (URLError, OSError, HTTPException) as error:
        return _failed(url, str(getattr(error, "reason", "") or error))
    except (ValueError, KeyError, TypeError, AttributeError):
        return _failed(url, "its answer is not that of a Prometheus")


def _failed(url: str, reason: str) -> PrometheusState:
    return PrometheusState(error=f"the Prometheus at {url} could not be asked: {reason}"[: limits.TEXT_LENGTH])


def _state(answer: Any) -> PrometheusState:
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"] if rule["type"] == "alerting"]
    names = {rule["name"] for rule in rules if 0 < len(rule["name"]) <= limits.ID_LENGTH}
    failing = {rule["name"] for rule in rules if rule.get("health") == "err"} & names
    return PrometheusState(
        alert_names=sorted(names)[: limits.ALERT_NAMES], failing_alert_names=sorted(failing)[: limits.ALERT_NAMES]
    )

"""Speaks to the REST API of a running instance.

What belongs here: requests and their retries. What does not: what they are for (``run``).
"""

import time
from collections.abc import Iterator
from typing import Any

import httpx

from customer360_airflow.local.instance import LocalAirflowError, PortTakenError

ATTEMPTS = 12
"""SQLite lets one writer in at a time: under load a request may be refused and is sent again."""


class Client:
    """Airflow's public API, as ``admin``."""

    def __init__(self, url: str, task_url: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self._password = password
        self._health = [f"{task_url}health", "/api/v2/version"]

    def is_up(self) -> bool:
        """Whether both APIs answer.

        The tasks' API builds its routes when it is first asked: that must not be the first task.
        """
        try:
            while self._health:
                self._http.get(self._health[0]).raise_for_status()
                self._health.pop(0)
        except httpx.HTTPError:
            return False
        return True

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Send a request and return the decoded answer; refused or broken ones are sent again.

        Raises:
            LocalAirflowError: the API does not accept it.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(min(0.25 * 2**attempt, 3))
            try:
                if "Authorization" not in self._http.headers:
                    self._log_in()
                answer = self._http.request(method, path, **arguments)
            except httpx.TransportError:
                continue
            if answer.status_code < httpx.codes.BAD_REQUEST:
                return answer.json() if answer.content else None
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                break
        else:
            raise LocalAirflowError(
                f"Airflow's API does not answer {method} {path}. If Airflow was ended meanwhile, "
                "give the command again: it goes on where it was cut off."
            )
        raise LocalAirflowError(
            f"Airflow's API refuses {method} {path}: {answer.status_code} {answer.text[:300]}"
        )

    def _log_in(self) -> None:
        answer = self._http.post(
            "/auth/token", json={"username": "admin", "password": self._password}
        )
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise PortTakenError(
                f"Another program answers at {self._http.base_url}: it does not know our password."
            )
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    # DAGs -----------------------------------------------------------------------------------

    def dags(self) -> list[dict[str, Any]]:
        """Every active DAG."""
        found: list[dict[str, Any]] = self.call("GET", "/api/v2/dags", params={"limit": 1000})[
            "dags"
        ]
        return found

    def import_errors(self) -> list[dict[str, Any]]:
        """DAG files that cannot be imported."""
        errors: list[dict[str, Any]] = self.call("GET", "/api/v2/importErrors")["import_errors"]
        return errors

    def unpause(self) -> None:
        """Switch every DAG on."""
        self.call("PATCH", "/api/v2/dags?dag_id_pattern=%25", json={"is_paused": False})

    def pause(self, dag_id: str) -> None:
        """Switch one DAG off."""
        self.call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": True})

    # runs -----------------------------------------------------------------------------------

    def trigger(self, dag_id: str, key: str) -> str:
        """Start a run for a partition key; returns its run id."""
        run: dict[str, Any] = self.call(
            "POST",
            f"/api/v2/dags/{dag_id}/dagRuns",
            json={"logical_date": None, "partition_key": key},
        )
        return str(run["dag_run_id"])

    def runs(self, dag_id: str, **filters: Any) -> list[dict[str, Any]]:
        """Runs of a DAG, newest first."""
        found: list[dict[str, Any]] = self.call(
            "GET",
            f"/api/v2/dags/{dag_id}/dagRuns",
            params={"order_by": "-id", "limit": 100, **filters},
        )["dag_runs"]
        return found

    def started_by(self, dag_id: str, run_id: str) -> set[str]:
        """Ids of the runs whose asset events started a run."""
        answer = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/upstreamAssetEvents")
        return {event["source_run_id"] for event in answer["asset_events"]}

    def waiting_assets(self, dag_id: str, key: str) -> dict[str, bool]:
        """Assets that a run of ``dag_id`` waits for under ``key``, and whether each is there.

        Empty where nothing waits.
        """
        waiting = self.call(
            "GET",
            "/ui/partitioned_dag_runs",
            params={"dag_id": dag_id, "has_created_dag_run_id": "false"},
        )["partitioned_dag_runs"]
        if all(row["partition_key"] != key for row in waiting):
            return {}
        detail = self.call(
            "GET", f"/ui/pending_partitioned_dag_run/{dag_id}", params={"partition_key": key}
        )
        return {asset["asset_name"]: asset["received"] for asset in detail["assets"]}

    # tasks ----------------------------------------------------------------------------------

    def tasks(self, run_ids: list[str]) -> list[dict[str, Any]]:
        """Task instances of runs."""
        found: list[dict[str, Any]] = self.call(
            "POST",
            "/api/v2/dags/~/dagRuns/~/taskInstances/list",
            json={"dag_run_ids": run_ids, "page_limit": 1000},
        )["task_instances"]
        return found

    def result(self, task: dict[str, Any]) -> dict[str, Any]:
        """What a finished task passed on."""
        answer = self.call(
            "GET",
            f"/api/v2/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}"
            f"/taskInstances/{task['task_id']}/xcomEntries/return_value",
            params={"deserialize": "true", "map_index": task.get("map_index", -1)},
        )
        value = answer["value"]
        return value if isinstance(value, dict) else {}

    def log(self, task: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The structured log of a task's last try, line by line."""
        answer = self.call(
            "GET",
            f"/api/v2/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}"
            f"/taskInstances/{task['task_id']}/logs/{task['try_number']}",
            params={"full_content": "true", "map_index": task.get("map_index", -1)},
            headers={"Accept": "application/json"},
        )
        for line in answer["content"]:
            if isinstance(line, dict):
                yield line

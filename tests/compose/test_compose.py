"""docker-compose.yml is valid, and nothing in it starts with a default password."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from customer360.settings import PROJECT
from customer360_airflow import deploy

SECRETS = {
    "POSTGRES_PASSWORD",
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_API_SECRET_KEY",
    "AIRFLOW_FERNET_KEY",
}
SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))


@pytest.fixture
def text():
    return (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.fixture
def compose(text):
    return yaml.safe_load(text)


def validate(document):
    jsonschema.validators.validator_for(SCHEMA)(SCHEMA).validate(document)


def test_it_is_valid(compose):
    validate(compose)


def test_the_schema_catches_a_wrong_key(compose):
    compose["services"]["scheduler"]["healthchek"] = {}
    with pytest.raises(jsonschema.ValidationError, match="healthchek"):
        validate(compose)


def test_every_service_of_airflow_is_there_and_watched(compose):
    services = compose["services"]
    assert set(services) == {
        "postgres",
        "init",
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
    }
    for name, service in services.items():
        assert name == "init" or service["healthcheck"]["test"], name
        for other, how in service.get("depends_on", {}).items():
            expected = "healthy" if other == "postgres" else "completed_successfully"
            assert how["condition"] == f"service_{expected}", name


def test_every_secret_comes_from_outside_and_its_absence_stops_the_start(text, compose):
    used = re.findall(r"\$\{(\w+)(:?[-?]?)", text)
    assert {name for name, operator in used if operator == ":?"} >= SECRETS
    assert not {name for name, operator in used if operator != ":?"} & SECRETS
    for service in compose["services"].values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD$|SECRET|_KEY$|_CONN", key):
                assert ":?" in str(value), key


def test_the_example_environment_names_every_variable_and_no_secret(text):
    example = dict(
        line.split("=", 1)
        for line in (PROJECT / ".env.example").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    assert set(example) == {name for name, _ in re.findall(r"\$\{(\w+)(:)", text)}
    assert {name for name, value in example.items() if not value} == SECRETS


def test_only_the_scheduler_may_write_the_warehouse(compose):
    mounts = {
        name: [volume for volume in service.get("volumes", []) if volume.startswith("data:")]
        for name, service in compose["services"].items()
    }
    assert {name for name, found in mounts.items() if found and not found[0].endswith(":ro")} == {
        "scheduler"
    }


def test_a_short_password_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="at least 12"):
        deploy.write_password(tmp_path / "passwords.json", "")


def test_the_password_is_for_its_owner_only(tmp_path):
    path = tmp_path / "passwords.json"
    deploy.write_password(path, "correct horse battery")
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text()) == {"admin": "correct horse battery"}

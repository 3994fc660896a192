from tests.faults.living import tiny_company  # noqa: F401, a fixture

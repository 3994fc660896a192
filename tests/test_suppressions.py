"""A check that is switched off for a line says why."""

import re

from customer360.settings import PROJECT

SWITCH = re.compile(r"#\s*(?:noqa|type:\s*ignore)\b.*")
WITH_REASON = re.compile(
    r"# noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*, \w.*|# type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\]  # \w.*"
)


def without_reason(text: str) -> list[str]:
    found = (match.group() for match in SWITCH.finditer(text))
    return [switch for switch in found if not WITH_REASON.fullmatch(switch)]


def test_every_suppression_states_its_reason():
    files = [
        file
        for folder in ("dags", "expectations", "models", "plugins", "tests")
        for file in (PROJECT / folder).rglob("*.py")
        if file.name != "test_suppressions.py"
    ]
    assert len(files) > 100
    bare = {
        str(file.relative_to(PROJECT)): found
        for file in files
        if (found := without_reason(file.read_text(encoding="utf-8")))
    }
    assert bare == {}


def test_a_bare_suppression_is_caught():
    assert without_reason("call()  # noqa: S603\n") == ["# noqa: S603"]
    assert without_reason("call()  # noqa\n") == ["# noqa"]
    assert without_reason("call()  # type: ignore[arg-type]\n") == ["# type: ignore[arg-type]"]
    assert without_reason("call()  # noqa: S603, our own program\n") == []
    assert without_reason("call()  # type: ignore[arg-type]  # a class does\n") == []

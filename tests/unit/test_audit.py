"""The audit log's entries."""

import msgspec

from db import audit
from db.audit import By


def test_a_reason_is_kept_as_other_short_texts_are() -> None:
    by = By("someone", reason="Cafe\N{COMBINING ACUTE ACCENT} closed")
    *_, detail = audit.entry(by, "tenant.suspend")
    assert msgspec.json.decode(detail) == {"reason": "Caf\N{LATIN SMALL LETTER E WITH ACUTE} closed"}

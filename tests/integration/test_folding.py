"""Slugs are compared folded, in one way everywhere: ASCII letters in lower case, and nothing else."""

import asyncpg
import pytest

from tests.operators import Operator
from tests.support import Client, problem, requested

WAYS = ("strasse", "STRASSE", "Strasse")
STRANGERS = ("straße", "strasse\u0131", "\N{LATIN SMALL LETTER LONG S}trasse", "\N{KELVIN SIGN}")


async def test_a_tenant_is_found_by_its_slug_in_any_ascii_case_and_by_no_other_letter(
    api: Client, as_operator: dict[str, str], operator_token: str
) -> None:
    tenant = await requested(api, "strasse")
    for slug in WAYS:
        assert (await api.get(f"/tenants/{slug}", headers=tenant.bearer)).status_code == 200
        assert (await api.get(f"/cc/tenants/{slug}", headers=as_operator)).status_code == 200
        listed = await api.get("/cc/messages", headers=as_operator, params={"tenant": slug})
        assert len(listed.json()["items"]) == 2
        audited = await api.get("/cc/audit", headers=as_operator, params={"tenant": slug})
        assert [entry["action"] for entry in audited.json()["items"]] == ["tenant.create"]
    for slug in STRANGERS:
        problem(await api.get(f"/tenants/{slug}", headers=tenant.bearer), 403, "tenant-forbidden")
        problem(await api.get(f"/cc/tenants/{slug}", headers=as_operator), 404, "not-found")
        problem(await Operator(api, operator_token).does("suspend", slug), 404, "not-found")
        problem(await api.post(f"/tenants/{slug}/claim", json={"claim": "x"}), 403, "claim-refused")
        for path in ("/cc/messages", "/cc/audit"):
            listed = await api.get(path, headers=as_operator, params={"tenant": slug})
            assert listed.json()["items"] == []


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Café Müller & Söhne", "cafe-muller-sohne"), ("24h Shop", "t-24h-shop"), ("寿司", "shou-si")],
)
async def test_a_name_in_any_script_signs_up(api: Client, name: str, slug: str) -> None:
    answer = await api.post("/tenants", json={"name": name})
    assert (answer.status_code, answer.json()["slug"]) == (202, slug)


async def test_a_name_of_which_no_slug_can_be_made_is_asked_for_one(
    api: Client, owner: asyncpg.Connection
) -> None:
    refused = problem(await api.post("/tenants", json={"name": "🥐"}), 400, "validation")
    assert refused["errors"] == [
        {"field": "slug", "message": "none can be made from this name; please choose one"}
    ]
    assert await owner.fetchval("SELECT count(*) FROM shared.tenants") == 0
    answer = await api.post("/tenants", json={"name": "🥐", "slug": "croissant"})
    assert answer.status_code == 202

"""HTTPS is verified, by the name in the URL, although the connection goes to an address."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from activities.tools.web.connecting import trusted
from tests.tools.web_room import Network, Server, Web, answer, redirect, serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[Server]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("secure.example", "127.0.0.1").configure_cert(tls)
    async with serving(tls) as made:
        made.answers = {"/": answer("over TLS")}
        yield made


@pytest.fixture
def web(tmp_path: Path) -> Web:
    made = Web(tmp_path)
    made.network = Network({"secure.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    made.allow = ("127.0.0.1",)
    return made


def trusting(web: Web, authority: trustme.CA) -> None:
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    web.network.road = replace(web.network.road, tls=lambda: tls)


async def test_a_certificate_of_an_unknown_authority_is_refused(web: Web, server: Server) -> None:
    error = await web.refused(server.url(host="secure.example"))
    assert error.code == "UNREACHABLE" and "CERTIFICATE_VERIFY_FAILED" in error.message
    assert server.heard == []


async def test_a_certificate_of_a_trusted_authority_opens_its_name_and_address(
    web: Web, server: Server, authority: trustme.CA
) -> None:
    trusting(web, authority)
    for host in ("secure.example", "127.0.0.1"):
        assert "over TLS" in await web.says(server.url(host=host))
    assert web.network.connected == ["127.0.0.1", "127.0.0.1"]


async def test_a_certificate_for_another_name_is_refused(web: Web, server: Server, authority: trustme.CA) -> None:
    trusting(web, authority)
    error = await web.refused(server.url(host="other.example"))
    assert error.code == "UNREACHABLE" and "other.example" in error.message
    assert server.heard == []


async def test_a_redirect_from_https_to_a_private_place_over_http_is_refused(
    web: Web, server: Server, authority: trustme.CA
) -> None:
    trusting(web, authority)
    server.answers = {"/": redirect("http://10.0.0.1/")}
    assert (await web.refused(server.url(host="secure.example"))).code == "ADDRESS_REFUSED"
    assert web.network.connected == ["127.0.0.1"]


async def test_a_redirect_from_https_to_http_leaves_the_secrets_behind(
    web: Web, server: Server, authority: trustme.CA
) -> None:
    trusting(web, authority)
    async with serving() as plain:
        plain.answers = {"/": answer("plain")}
        server.answers = {"/": redirect(plain.url(host="secure.example"))}
        assert "plain" in await web.says(server.url(host="secure.example"), headers={"Authorization": "Bearer key"})
        assert server.heard[0].headers["authorization"] == "Bearer key"
        assert "authorization" not in plain.heard[0].headers


def test_verification_is_on_in_what_is_used_outside_of_tests() -> None:
    assert trusted().verify_mode == ssl.CERT_REQUIRED and trusted().check_hostname

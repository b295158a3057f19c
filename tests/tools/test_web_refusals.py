"""web_fetch does not reach what is not public, however the URL is written, and connects to nothing on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.tools.web_room import Network, Web, answer, redirect, serving

PUBLIC = "93.184.215.14"

TRICKS = {
    # Not the web at all
    "file:///etc/passwd": "URL_REFUSED",
    "FILE:///etc/passwd": "URL_REFUSED",
    "gopher://public.example:70/_GET": "URL_REFUSED",
    "ftp://public.example/": "URL_REFUSED",
    "data:text/html,hello": "URL_REFUSED",
    "javascript:alert(1)": "URL_REFUSED",
    "unix:/var/run/docker.sock": "URL_REFUSED",
    "http:public.example": "URL_REFUSED",
    "http:///public.example": "URL_REFUSED",
    "http://": "URL_REFUSED",
    "//public.example/": "URL_REFUSED",
    "public.example": "URL_REFUSED",
    "http://?x": "URL_REFUSED",
    "http://:80/": "URL_REFUSED",
    "http://./": "URL_REFUSED",
    # This machine, plainly and in disguise
    "http://127.0.0.1/": "ADDRESS_REFUSED",
    "http://127.255.255.254/": "ADDRESS_REFUSED",
    "http://localhost/": "ADDRESS_REFUSED",
    "http://LOCALHOST./": "ADDRESS_REFUSED",
    "http://0.0.0.0/": "ADDRESS_REFUSED",
    "http://127.0.0.1./": "ADDRESS_REFUSED",
    "http://2130706433/": "URL_REFUSED",
    "http://0177.0.0.1/": "URL_REFUSED",
    "http://0x7f.1/": "URL_REFUSED",
    "http://0x7f000001/": "URL_REFUSED",
    "http://127.1/": "URL_REFUSED",
    "http://127.0.1/": "URL_REFUSED",
    "http://0/": "URL_REFUSED",
    "http://127.0.0.01/": "URL_REFUSED",
    "http://127.0.0.1.1/": "URL_REFUSED",
    "http://256.256.256.256/": "URL_REFUSED",
    "http://127。0。0。1/": "ADDRESS_REFUSED",
    "http://127\uff0e0\uff0e0\uff0e1/": "ADDRESS_REFUSED",
    "http://①②⑦.⓪.⓪.①/": "ADDRESS_REFUSED",
    "http://ⓛocalhost/": "ADDRESS_REFUSED",
    "http://%31%32%37.0.0.1/": "URL_REFUSED",
    "http://127.0.0.1%00.public.example/": "URL_REFUSED",
    "http://127.0.0.1\x00.public.example/": "INVALID_ARGUMENTS",
    # IPv6 and what hides in it
    "http://[::1]/": "ADDRESS_REFUSED",
    "http://[::]/": "ADDRESS_REFUSED",
    "http://[0:0:0:0:0:0:0:1]/": "ADDRESS_REFUSED",
    "http://[::ffff:127.0.0.1]/": "ADDRESS_REFUSED",
    "http://[::ffff:a9fe:a9fe]/": "ADDRESS_REFUSED",
    "http://[::127.0.0.1]/": "ADDRESS_REFUSED",
    "http://[::ffff:0:127.0.0.1]/": "ADDRESS_REFUSED",
    "http://[2002:7f00:1::]/": "ADDRESS_REFUSED",
    "http://[64:ff9b::7f00:1]/": "ADDRESS_REFUSED",
    "http://[64:ff9b:1::7f00:1]/": "ADDRESS_REFUSED",
    "http://[2001:0:7f00:1::1]/": "ADDRESS_REFUSED",
    "http://[2606:4700::5efe:7f00:1]/": "ADDRESS_REFUSED",
    "http://[fe80::1]/": "ADDRESS_REFUSED",
    "http://[fe80::1%25eth0]/": "URL_REFUSED",
    "http://[::1%25lo]/": "URL_REFUSED",
    "http://[fd00:ec2::254]/latest/meta-data/": "ADDRESS_REFUSED",
    "http://[ff02::1]/": "ADDRESS_REFUSED",
    "http://[::1": "URL_REFUSED",
    "http://[::1].public.example/": "URL_REFUSED",
    "http://[127.0.0.1]/": "URL_REFUSED",
    "http://::1/": "URL_REFUSED",
    # Networks that are not for the public
    "http://169.254.169.254/latest/meta-data/": "ADDRESS_REFUSED",
    "http://168.63.129.16/machine": "ADDRESS_REFUSED",
    "http://10.0.0.1/": "ADDRESS_REFUSED",
    "http://172.31.255.255/": "ADDRESS_REFUSED",
    "http://192.168.1.1/": "ADDRESS_REFUSED",
    "http://100.100.100.200/": "ADDRESS_REFUSED",
    "http://192.0.0.192/": "ADDRESS_REFUSED",
    "http://198.18.0.1/": "ADDRESS_REFUSED",
    "http://224.0.0.1/": "ADDRESS_REFUSED",
    "http://255.255.255.255/": "ADDRESS_REFUSED",
    "http://metadata.example/": "ADDRESS_REFUSED",
    "http://half.example/": "ADDRESS_REFUSED",
    # Names and passwords, blanks, backslashes: what readers of URLs disagree about
    "http://public.example@127.0.0.1/": "URL_REFUSED",
    "http://user:password@public.example/": "URL_REFUSED",
    "http://127.0.0.1:80@public.example/": "URL_REFUSED",
    "http://public.example\\@127.0.0.1/": "URL_REFUSED",
    "http:\\\\127.0.0.1\\": "URL_REFUSED",
    "http://127.0.0.1 public.example/": "URL_REFUSED",
    " http://public.example/": "URL_REFUSED",
    "http://public.example/a b": "URL_REFUSED",
    "http://public.example/\r\nHost: 127.0.0.1": "URL_REFUSED",
    "ht\ntp://127.0.0.1/": "URL_REFUSED",
    "http://public.example\u200b/": "URL_REFUSED",
    "http://public..example/": "URL_REFUSED",
    "http://-public.example/": "URL_REFUSED",
    "http://pub!ic.example/": "URL_REFUSED",
    "http://xn--a.example/?": "DNS_FAILED",
    # Ports where a request could be taken for commands
    "http://public.example:22/": "URL_REFUSED",
    "http://public.example:25/": "URL_REFUSED",
    "http://public.example:0/": "URL_REFUSED",
    "http://public.example:65536/": "URL_REFUSED",
    "http://public.example:80:80/": "URL_REFUSED",
    "http://public.example:٨٠/": "URL_REFUSED",
    "http://public.example:-80/": "URL_REFUSED",
}
NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "public.example": [PUBLIC],
    "metadata.example": ["169.254.169.254"],
    "half.example": [PUBLIC, "10.1.2.3"],
    "mapped.example": ["::ffff:10.0.0.1"],
}


@pytest.fixture
def web(tmp_path: Path) -> Web:
    made = Web(tmp_path)
    made.network = Network(NAMES)
    return made


@pytest.mark.parametrize(("url", "code"), TRICKS.items(), ids=[ascii(url) for url in TRICKS])
async def test_a_tricky_url_is_refused_before_anything_is_connected_to(web: Web, url: str, code: str) -> None:
    error = await web.refused(url)
    assert error.code == code, error.message
    assert web.network.connected == []
    assert error.message


async def test_a_public_address_is_tried_so_the_refusals_are_not_for_want_of_a_network(web: Web) -> None:
    for url in (
        "http://public.example/",
        "https://PUBLIC.example.:8443/",
        f"http://{PUBLIC}/",
        "http://[2606:4700::1]/",
    ):
        assert (await web.refused(url)).code == "UNREACHABLE"
    assert web.network.connected == [PUBLIC, PUBLIC, PUBLIC, "2606:4700::1"]


async def test_an_address_of_ipv6_that_carries_a_public_one_of_ipv4_is_open(web: Web) -> None:
    await web.refused("http://[64:ff9b::5db8:d70e]/")
    await web.refused("http://[::ffff:93.184.215.14]/")
    assert web.network.connected == ["64:ff9b::5db8:d70e", PUBLIC]


async def test_a_name_that_changes_its_address_after_the_check_gains_nothing(web: Web) -> None:
    """DNS rebinding: the second answer is never asked for, since the connection goes to the checked address."""
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])

    async def rebinding(_host: str) -> list[str]:
        return next(answers)

    object.__setattr__(web.network.road, "resolve", rebinding)
    assert (await web.refused("http://rebinding.example/")).code == "UNREACHABLE"
    assert web.network.connected == [PUBLIC]
    assert (await web.refused("http://rebinding.example/")).code == "ADDRESS_REFUSED"
    assert web.network.connected == [PUBLIC]


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("http://169.254.169.254/latest/", "ADDRESS_REFUSED"),
        ("http://localhost:{port}/secret", "ADDRESS_REFUSED"),
        ("//10.0.0.1/", "ADDRESS_REFUSED"),
        ("http://mapped.example/", "ADDRESS_REFUSED"),
        ("file:///etc/passwd", "URL_REFUSED"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "URL_REFUSED"),
        ("http://2130706433/", "URL_REFUSED"),
        ("http://user@10.0.0.1/", "URL_REFUSED"),
        ("http:///etc", "URL_REFUSED"),
        ("\\\\10.0.0.1\\x", "URL_REFUSED"),
    ],
)
async def test_a_redirect_to_what_is_not_public_is_refused(web: Web, to: str, code: str) -> None:
    async with serving() as server:
        web.allow = ("127.0.0.1",)
        web.network.names["localhost"] = ["::1"]
        server.answers = {"/": redirect(to.replace("{port}", str(server.port))), "/secret": answer("the secret")}
        error = await web.refused(server.url())
        assert error.code == code, error.message
        assert f"redirected by {server.url()}" in error.message
        assert web.network.connected == ["127.0.0.1"] and len(server.heard) == 1


async def test_a_name_is_resolved_and_checked_again_at_every_redirect(web: Web) -> None:
    async with serving() as server:
        turns = iter([["127.0.0.1"], ["127.0.0.2"]])

        async def turning(_host: str) -> list[str]:
            return next(turns)

        object.__setattr__(web.network.road, "resolve", turning)
        web.allow = ("127.0.0.1/32",)
        server.answers = {"/": redirect("/again")}
        assert (await web.refused(server.url(host="turning.example"))).code == "ADDRESS_REFUSED"
        assert web.network.connected == ["127.0.0.1"]


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "127.0.0.77/8", "inside.example", "Inside.Example."])
async def test_what_the_operator_allows_is_reached(web: Web, entry: str) -> None:
    async with serving() as server:
        server.answers = {"/": answer("inside")}
        web.network.names["inside.example"] = ["127.0.0.1"]
        web.allow = ("192.168.0.0/16", entry)
        assert "inside" in await web.says(server.url(host="inside.example"))
        assert server.heard[0].headers["host"] == f"inside.example:{server.port}"


@pytest.mark.parametrize("entry", ["", "/", "127.0.0.2", "128.0.0.0/8", "127.0.0.1/33", "other.example", "::1", "*"])
async def test_what_is_allowed_opens_nothing_else(web: Web, entry: str) -> None:
    web.network.names["inside.example"] = ["127.0.0.1"]
    web.allow = (entry,)
    assert (await web.refused("http://inside.example/")).code == "ADDRESS_REFUSED"
    assert web.network.connected == []


async def test_the_environment_names_no_proxy(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server, serving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        server.answers = {"/": answer("straight")}
        web.allow = ("127.0.0.1",)
        assert "straight" in await web.says(server.url())
        assert proxy.heard == []


async def test_every_address_of_a_host_is_tried_until_one_answers(web: Web) -> None:
    async with serving() as server:
        server.answers = {"/": answer("the second")}
        web.network.names["two.example"] = ["2606:4700::1", "127.0.0.1"]
        web.allow = ("127.0.0.1",)
        assert "the second" in await web.says(server.url(host="two.example"))
        assert web.network.connected == ["2606:4700::1", "127.0.0.1"]


async def test_a_name_server_that_does_not_answer_costs_the_time_to_connect_only(web: Web) -> None:
    async def silent(_host: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    web.network = Network(connect_seconds=0.05)
    object.__setattr__(web.network.road, "resolve", silent)
    error = await web.refused("http://slow.example/")
    assert error.code == "TIMEOUT" and "slow.example" in error.message

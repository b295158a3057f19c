"""The reader: pages as a person would read them out, and pages made to break it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from activities.tools.spec import ToolContext
from activities.tools.web.readable import readable
from activities.tools.web.reader import page
from tests.tools.room import running, until

URL = "https://site.example/dir/page?x=1"


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    return ToolContext(tmp_path)


def read(html: str) -> str:
    return page(html, URL)[0]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<h2>Head</h2><p>One\n two<br>three", "## Head\n\nOne two\nthree"),
        ("<ul><li>a<li>b<ul><li>c</ul><li><p>d</p><p>e</p></ul>f", "- a\n- b\n  - c\n- d\n\n  e\n\nf"),
        ("<ol start=9><li>a<li>b</ol>", "9. a\n10. b"),
        ("<pre><code>if x:\n    y()\n</code></pre>", "```\nif x:\n    y()\n```"),
        ("use <code>a  b</code> here", "use `a b` here"),
        ("<blockquote><p>a<p>b</blockquote>", "> a\n>\n> b"),
        ("<table><tr><th>A<th>B<tr><td><p>1<td>2 <b>x</b></table>", "| A | B |\n| 1 | 2 x |"),
        ("<table><tr><td><h3>A</h3><ul><li>b</ul><td>c</table>", "### A\n\n- b\n\nc"),
        ("<table><tr><td><table><tr><td>1<td>2</table><td>c</table>", "| 1 | 2 |\n\nc"),
        ("<dl><dt>t<dd>m</dl>", "t\n  m"),
        ('a<img src=x alt="A cat">b<img src=y>', "a[image: A cat]b"),
        ("a<hr>b", "a\n\n---\n\nb"),
        ("<p>1 &lt; 2 &amp; caf&eacute;", "1 < 2 & café"),
        ("a<script>no()</script><style>x{}</style><template>t</template><svg><text>s</text></svg>b", "ab"),
        ('a<p style="color:red; Display : NONE">hid<p hidden>hid<p aria-hidden=true>hid', "a"),
        ("<noscript>needs a script</noscript>", "needs a script"),
        ("<title>T\n t</title>x", "Title: T t\n\nx"),
        ("", ""),
        ("<<<>>> </p></p></table>", "<<<>>>"),
    ],
)
def test_a_page_is_written_out(html: str, text: str) -> None:
    assert read(html) == text


@pytest.mark.parametrize(
    ("href", "where"),
    [
        ("/a", "/a"),
        ("b", "/dir/b"),
        ("https://site.example", "/"),
        ("//other.example/x", "https://other.example/x"),
        ("?x=2", "/dir/page?x=2"),
        ("#part", None),
        ("", None),
        ("javascript:x()", None),
        ("mailto:a@b.example", None),
        ("data:text/html,x", None),
        ("http://[broken/", None),
        ("/" + "a" * 600, None),
    ],
)
def test_a_link_is_kept_where_it_leads_somewhere(href: str, where: str | None) -> None:
    assert read(f'say <a href="{href}"> it </a>!') == (f"say [it]({where}) !" if where else "say it !")


def test_a_link_around_blocks_comes_after_them() -> None:
    assert read('<a href="/card"><h3>Card</h3><p>text</p></a><p>more') == "### Card\n\ntext\n\n(/card)\n\nmore"


def test_links_follow_the_base_of_the_page() -> None:
    assert read('<base href="https://base.example/x/"><a href="y">z</a>') == "[z](/y)".replace("/y", "/x/y")


@pytest.mark.parametrize(
    "around", ["<main>{}</main>", "<div role=main>{}</div>", "<article>{}</article>", "<div>{}</div>"]
)
def test_navigation_is_left_out_where_the_page_tells_it_apart(around: str) -> None:
    text = read("<nav>menu</nav>" + around.format("content " * 40) + "<footer>imprint</footer>")
    assert text == ("content " * 40).strip()


def test_a_page_that_is_all_navigation_is_shown_all_the_same() -> None:
    assert read("<nav><a href=/a>a</a></nav><main></main>") == "[a](/a)"


def test_a_page_longer_than_the_bound_is_cut_and_says_so() -> None:
    text, whole = page("<p>word word</p>" * 200_000, URL)
    assert not whole and 1_000_000 <= len(text) < 1_010_000


async def test_the_reader_works_as_a_process_of_its_own(context: ToolContext) -> None:
    done = await readable("<h1>Grüße 日本</h1>", URL, context, 10)
    assert (done.text, done.whole, done.trouble) == ("# Grüße 日本", True, "")


async def test_a_page_that_keeps_the_parser_busy_for_minutes_is_given_up(context: ToolContext) -> None:
    done = await readable("<div>" * 200_000, URL, context, seconds=0.5)
    assert done.trouble == "it could not be read within 0.5 s"


async def test_a_page_nested_deeper_than_python_calls_is_read(context: ToolContext) -> None:
    assert "deep" in (await readable("<b>" * 5_000 + "deep", URL, context, 10)).text


async def test_a_reader_whose_call_is_cancelled_is_dead(context: ToolContext) -> None:
    call = asyncio.create_task(readable("<div>" * 200_000, URL, context, 10))
    await until(lambda: running("web/reader.py"), 5)
    pid = running("web/reader.py")[0]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert pid not in running("web/reader.py")

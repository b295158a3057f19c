"""The reader: a short-lived process that turns a web page into text for a model.

Started as `python -I reader.py`; a line of JSON and then the page in UTF-8 on stdin, text on stdout. A process of its
own, because a page is written by strangers: 200,000 nested elements keep an HTML parser busy for minutes, and nothing
in the worker could interrupt it. It ends itself by a timer, and has a bound on its memory. It imports nothing of the
project.

What it writes looks like Markdown: headings, lists, tables, code and links, without what people do not see (scripts,
styles, hidden parts) and, where the page tells it apart, without its navigation.

Exit codes: 0 all of it, 3 a bound was reached; death by SIGALRM: out of time.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

MEMORY = 2 << 30
MAX_WRITTEN = 1_000_000
"""Characters."""
LITTLE = 200
"""Characters below which a part of the page is not taken for its content."""
MAX_LINK = 500
_TAGS = {
    "unseen": """script style template head svg math iframe object embed canvas audio video map datalist dialog select
        textarea button input""",
    "blocks": """address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption
        figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr legend li main menu nav ol p pre search section summary
        table tbody td tfoot th thead tr ul""",
    "apart": "p blockquote pre table ul ol menu dl h1 h2 h3 h4 h5 h6 figure hr",
    "navigation": "nav footer aside",
    "headings": "h1 h2 h3 h4 h5 h6",
    "lists": "ul ol menu",
}
_UNSEEN, _BLOCKS, _APART, _NAVIGATION, _HEADINGS, _LISTS = (frozenset(tags.split()) for tags in _TAGS.values())
_MARKED = {"li": "- ", "blockquote": "> ", "dd": "  "}
_LAYOUT = ":is(td, th) :is(ul, ol, pre, blockquote, h1, h2, h3, h4, table, section, article)"
"""In a cell, a sign that the table is there for the layout, and its rows are no lines."""
_HIDDEN = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_BLANK = re.compile(r"[ \t\n\f\r]+")


class Enough(Exception):
    """All that may be written is written."""


class Writer:
    """Text as it grows: words to lines, lines to blocks, with what stands before each line (list marks, quotes)."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._words: list[str] = []
        self._size = 0
        self._apart = False
        self._before: list[list[str]] = []  # what stands before the block's next line, and before those after it
        self.bare = False  # inside `pre`: blanks and line ends are kept

    def say(self, text: str) -> None:
        self._words.append(text if self.bare else _BLANK.sub(" ", text))

    def open(self, first: str, other: str) -> None:
        """Begin a block whose lines have something before them; `close` ends it."""
        self.line()
        self._before.append([first, other, ""])

    def close(self) -> None:
        self.line()
        self._before.pop()

    def apart(self) -> None:
        """An empty line here, if there is text on both sides in the block that is open."""
        self.line()
        if not self._before or self._before[-1][2]:
            self._apart = True

    def line(self) -> None:
        """End the line that is being written, if there is anything on it."""
        text, self._words = "".join(self._words), []
        if not text:
            return
        if self.bare:
            for each in text.removeprefix("\n").rstrip().split("\n"):
                self._put(each.rstrip())
        elif text := re.sub(r" {2,}", " ", text).strip():
            self._put(text)

    def place(self) -> tuple[int, int]:
        """Where the writing is, for `link`."""
        return len(self._lines), len(self._words)

    def link(self, since: tuple[int, int], where: str) -> None:
        """`[text](where)` around what was said since then; after it, where that was more than a line."""
        lines, words = since
        if lines != len(self._lines):
            self.say(f" ({where})")
            return
        said = "".join(self._words[words:])
        if text := said.strip():
            before, _, after = said.partition(text)
            self._words[words:] = [f"{before}[{text}]({where}){after}"]

    def _put(self, text: str) -> None:
        if self._apart and self._lines:
            self._add("".join(each[0] for each in self._before if each[2]).rstrip())
        self._apart = False
        line = "".join(each[0] for each in self._before) + text
        for each in self._before:
            each[0] = each[1]
            each[2] = "begun"
        self._add(line)

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line) + 1
        if self._size > MAX_WRITTEN:
            raise Enough

    def text(self) -> str:
        return "\n".join(self._lines)


class Reading:
    """One page being written out. It goes through the tree with a list of its own: a page may be nested deeper than
    Python's calls may be."""

    def __init__(self, base: str, skipped: frozenset[str]) -> None:
        self.writer = Writer()
        self._base = base
        self._origin = _origin(base)
        self._skipped = skipped
        self._counters: list[int | None] = []  # of the lists around: the next number, None for bullets
        self._links: list[tuple[int, int]] = []
        self._tables: list[bool] = []  # of the tables around: whether they hold facts, or only the layout
        self._in_row = False  # of a table of facts: a row is one line

    def read(self, root: LexborNode) -> None:
        """Write it all. Raises Enough."""
        waiting: list[tuple[LexborNode, bool]] = [(root, False)]
        while waiting:
            node, leaving = waiting.pop()
            tag = node.tag or ""
            if leaving:
                self._leave(node, tag)
            elif node.is_text_node:
                self.writer.say(node.text_content or "")
            elif node.is_element_node and not self._unseen(node, tag):
                self._enter(node, tag)
                waiting.append((node, True))
                waiting.extend((child, False) for child in reversed(list(node.iter(include_text=True))))
        self.writer.line()

    def _unseen(self, node: LexborNode, tag: str) -> bool:
        if tag in _UNSEEN or tag in self._skipped:
            return True
        attributes = node.attributes
        hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true"
        return hidden or _HIDDEN.search(attributes.get("style") or "") is not None

    def _enter(self, node: LexborNode, tag: str) -> None:
        writer = self.writer
        if tag == "a":
            self._links.append(writer.place())
        elif tag == "img":
            if alt := (node.attributes.get("alt") or "").strip():
                writer.say(f"[image: {alt[:200]}]")
        elif tag == "code" and not writer.bare:
            writer.say("`")
        elif self._in_row:
            writer.say(" | " if tag in ("td", "th") else " " if tag in _BLOCKS or tag == "br" else "")
        elif tag == "br":
            writer.say("\n") if writer.bare else writer.line()
        elif tag in _BLOCKS:
            self._end_line(tag)
            self._begin(node, tag)

    def _begin(self, node: LexborNode, tag: str) -> None:
        """What a block's first line begins with."""
        writer = self.writer
        if tag in _HEADINGS:
            writer.say("#" * int(tag[1]) + " ")
        elif tag == "pre":
            writer.say("```")
            writer.line()
            writer.bare = True
        elif tag == "hr":
            writer.say("---")
        elif tag in _LISTS:
            start = node.attributes.get("start") or ""
            number = int(start) if re.fullmatch(r"[0-9]{1,6}", start) else 1
            self._counters.append(number if tag == "ol" else None)
        elif tag in _MARKED:
            mark = self._mark() if tag == "li" else _MARKED[tag]
            writer.open(mark, mark if tag == "blockquote" else " " * len(mark))
        elif tag == "table":
            self._tables.append(all(part.css_first(_LAYOUT) is None for part in node.iter()))
        elif tag == "tr":
            self._in_row = bool(self._tables) and self._tables[-1]

    def _mark(self) -> str:
        number = self._counters[-1] if self._counters else None
        if number is None:
            return "- "
        self._counters[-1] = number + 1
        return f"{number}. "

    def _leave(self, node: LexborNode, tag: str) -> None:
        writer = self.writer
        if tag == "a":
            since, where = self._links.pop(), self._where(node.attributes.get("href") or "")
            if where and not writer.bare:
                writer.link(since, where)
        elif tag == "code" and not writer.bare:
            writer.say("`")
        elif tag == "tr" and self._in_row:
            self._in_row = False
            writer.say(" |")
            writer.line()
        elif tag in _BLOCKS and not self._in_row:
            self._finish(tag)
            self._end_line(tag)

    def _finish(self, tag: str) -> None:
        writer = self.writer
        if tag == "pre":
            writer.line()
            writer.bare = False
            writer.say("```")
        elif tag in _LISTS:
            self._counters.pop()
        elif tag in _MARKED:
            writer.close()
        elif tag == "table":
            self._tables.pop()

    def _end_line(self, tag: str) -> None:
        """Blocks begin and end lines; those that stand apart have an empty line there, but lists in lists have none."""
        if tag in _APART and not (tag in _LISTS and self._counters):
            self.writer.apart()
        else:
            self.writer.line()

    def _where(self, href: str) -> str:
        """A link's place: on the same site only the path, which is what a reader needs and much shorter."""
        try:
            place = urljoin(self._base, href.strip()).replace(" ", "%20")
            if urlsplit(place).scheme not in ("http", "https") or len(place) > MAX_LINK:
                return ""
            if place.partition("#")[0] == self._base.partition("#")[0]:
                return ""
            return place.removeprefix(self._origin) or "/" if _origin(place) == self._origin else place
        except ValueError:
            return ""


def _origin(url: str) -> str:
    return "://".join(urlsplit(url)[:2])


def _candidates(tree: LexborHTMLParser) -> Iterator[tuple[LexborNode, frozenset[str]]]:
    """What may be the content of the page, best first, and what is left out of it."""
    for selector in ("main", "[role=main]", "article"):
        found = tree.css(selector)
        if len(found) == 1:
            yield found[0], _NAVIGATION if selector == "article" else frozenset({"nav"})
    if tree.body is not None:
        yield tree.body, _NAVIGATION
        yield tree.body, frozenset()


def page(html: str, url: str) -> tuple[str, bool]:
    """Title and text of the page, and whether that is all of it."""
    tree = LexborHTMLParser(html)
    base = tree.css_first("base[href]")
    with suppress(ValueError):
        url = urljoin(url, (base.attributes.get("href") or "") if base else "")
    text, whole = "", True
    for root, skipped in _candidates(tree):
        reading = Reading(url, skipped)
        try:
            reading.read(root)
        except Enough:
            whole = False
        text = reading.writer.text()
        if len(text) >= LITTLE:
            break
    title = tree.css_first("head > title")
    heading = _BLANK.sub(" ", title.text()).strip()[:300] if title else ""
    return (f"Title: {heading}\n\n" if heading else "") + text, whole


def main() -> int:
    head, _, body = sys.stdin.buffer.read().partition(b"\n")
    request = json.loads(head)
    # The default action of SIGALRM ends a process, whatever it is doing.
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    text, whole = page(body.decode(errors="replace"), request["url"])
    sys.stdout.write(text)
    sys.stdout.flush()
    return 0 if whole else 3


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main())

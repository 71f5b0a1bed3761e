"""`report.html`: one page, safe whatever people wrote."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen.data.report import ClipFacts, Dropped, Listen, ReportFacts, Step, render_report
from rapgen.data.storage import Storage
from rapgen.errors import RapgenError

CLIPS = (
    ClipFacts(10.0, tempo_bpm=88.0, key="F# minor", style="boom bap", uploader="ann", loudness_lufs=-9.5, weight=0.8),
    ClipFacts(12.0, tempo_bpm=141.0, key="C major", style="trap", uploader="bob", loudness_lufs=float("-inf")),
    ClipFacts(12.5, style="trap", uploader="bob", weight=1.2),
)
FACTS = ReportFacts(
    name="beats",
    funnel=(Step("found", 5), Step("decoded", 4), Step("kept", 2), Step("train clips", 3, "clips")),
    clips=CLIPS,
    listen=(
        Listen("train/a b.flac", "boom bap, 88 bpm", "A title", 88.0, "F# minor", "boom bap", 10.0, "https://x.org"),
    ),
    dropped=(
        Dropped("one.mp3", "too short", "2.1 s; segments take 10 s"),
        Dropped("two.mp3", "a voice", "in 63 % of it", "https://x.org/two"),
        Dropped("three.mp3", "too short"),
    ),
    settings={"duration_s": 10.0, "separate": False, "captioner": {"use": "phrases"}},
    versions={"rapgen": "0.1.0"},
)
WILD = st.text(max_size=40) | st.sampled_from([
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "</title><b>",
    "'&amp;{{ 7 * 7 }}",
    "\u202ereversed", "\ud800", "a\x00b\nc", "{% raw %}", "]]>", "<!--", "../../x", "x" * 1000,
])  # fmt: skip


class Page(HTMLParser):
    """Tags with their attributes, the text between them, and whether tags close in order."""

    EMPTY = frozenset(("meta", "link", "rect", "line", "img", "br"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_shows_what_it_was_given() -> None:
    page = Page(render_report(FACTS))
    for told in (
        "tracks kept 2 of 5", "clips 3", "decoded", "F# minor", "boom bap", "2.1 s; segments take 10 s", 
        "too short (2)", "in 63 % of it", "0.80 and 1.20", "1 of 3 not known", "phrases", "0.1.0",
    ):  # fmt: skip
        assert told in page.text, told
    assert [audio["src"] for audio in page.all("audio")] == ["train/a%20b.flac"]
    assert {link["href"] for link in page.all("a")} == {"#dropped", "https://x.org", "https://x.org/two"}
    headings = {"From step to step", "The clips", "Balance", "Listen", "Dropped", "Settings", "Versions"}
    assert headings <= set(page.words)


def test_the_page_needs_nothing_else() -> None:
    html = render_report(FACTS)
    page = Page(html)
    assert not page.all("script") + page.all("img") + page.all("iframe")
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert "url(" not in html
    assert "@import" not in html
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_who_does_not_see_charts_has_their_figures() -> None:
    page = Page(render_report(FACTS))
    charts = [svg for svg in page.all("svg") if svg.get("aria-hidden") != "true"]
    assert charts
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in charts)
    assert len(page.all("table")) >= len(charts)
    assert all(audio["aria-label"] for audio in page.all("audio"))
    assert page.all("html")[0]["lang"] == "en"


def test_bars_are_as_long_as_their_numbers() -> None:
    html = render_report(replace(FACTS, clips=(), dropped=(), listen=(), settings={}))
    assert re.findall(r'width="([\d.]+)" height="11"', html)[:3] == ["300.0", "240.0", "120.0"]  # 5, 4 and 2


def test_histograms_count_every_known_value() -> None:
    clips = tuple(ClipFacts(10.0 + n / 7, tempo_bpm=60.0 + n % 90, loudness_lufs=-30.0 + n % 25) for n in range(300))
    titles = re.findall(r"<title>(-?[\d.]+) (bpm|s|LUFS): (\d+)</title>", render_report(ReportFacts("x", clips=clips)))
    for unit in ("bpm", "s", "LUFS"):
        found = [(float(low), int(count)) for low, own, count in titles if own == unit]
        assert sum(count for _, count in found) == 300
        assert 1 < len(found) <= 24
        assert found == sorted(found)


@pytest.mark.parametrize("value", [0.0, 1e-9, -7.0, 1e9])
def test_a_single_value_is_a_histogram_too(value: float) -> None:
    assert "histogram" in render_report(ReportFacts("x", clips=(ClipFacts(1.0, tempo_bpm=value),)))


def test_an_empty_dataset_has_a_page() -> None:
    page = Page(render_report(ReportFacts("nothing", funnel=(Step("found", 0),))))
    assert "Nothing." in page.text
    assert not page.all("audio")


@settings(max_examples=60, deadline=None)
@given(WILD, WILD, WILD, WILD)
def test_what_others_wrote_is_text(one: str, two: str, three: str, four: str) -> None:
    facts = ReportFacts(
        name=one,
        funnel=(Step(two, 3, three),),
        clips=tuple(ClipFacts(10.0, style=style, uploader=four) for style in (one, two)),
        listen=(Listen(one, two, three, style=four, url=one),),
        dropped=(Dropped(two, three, four, one),),
        settings={one: two, three: [four]},
        versions={two: one},
    )
    page = Page(render_report(facts))
    assert not page.all("script") + page.all("img")
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all((link["href"] or "").startswith(("#", "http://", "https://")) for link in page.all("a"))
    assert "49" not in page.text or "49" in one + two + three + four
    assert all(":" not in (audio["src"] or "") for audio in page.all("audio"))


def test_ten_thousand_dropped_items_fit() -> None:
    dropped = tuple(Dropped(f"file {n}.mp3", f"reason {n % 7}", "x" * 5000) for n in range(10_000))
    html = render_report(replace(FACTS, dropped=dropped))
    assert html.count("file ") == 10_000
    assert len(html) < 10_000 * 600


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RapgenError, match="cannot write"):
        Storage(str(tmp_path / "file")).write("report.html", render_report(FACTS).encode())

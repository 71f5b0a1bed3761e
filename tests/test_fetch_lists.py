"""Lists of addresses: what they may look like, and the one line that tells what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapgen.data.fetch.lists import Row, read_list
from rapgen.errors import RapgenError

URL = "https://example.com/a"


def listed(folder: Path, content: str | bytes, name: str = "urls.txt") -> list[Row]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_list(path)


def test_text_has_an_address_a_line_and_a_caption_after_a_tab(tmp_path: Path) -> None:
    text = f"\ufeff# mine\r\n\r\n{URL}\tboom bap, 90 bpm\r\n  {URL}?b=#hook  \n  # not this\n{URL}\tбит\tс табом\n"
    assert listed(tmp_path, text) == [Row(URL, "boom bap, 90 bpm"), Row(f"{URL}?b=#hook"), Row(URL, "бит\tс табом")]


def test_csv_takes_quoted_captions_and_passes_over_other_columns(tmp_path: Path) -> None:
    text = f'url,caption,start_s,end_s,author\n{URL},"dark, slow\nand cold",10,20.5,me\n{URL},,,,\n'
    assert listed(tmp_path, text, "list.csv") == [Row(URL, "dark, slow\nand cold", 10.0, 20.5), Row(URL)]


def test_musiccaps_own_column_names_a_video(tmp_path: Path) -> None:
    text = "ytid,start_s,end_s,aspect_list,caption\n-0Gj8-vB1q4,30,40,\"['rap']\",a beat\n"
    assert listed(tmp_path, text, "musiccaps.csv") == [
        Row("https://www.youtube.com/watch?v=-0Gj8-vB1q4", "a beat", 30.0, 40.0)
    ]


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"url": URL, "caption": "a\u2028b", "start_s": 0}, {"url": URL, "end_s": "9.5", "more": [1]}]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"
    assert listed(tmp_path, text, "LIST.JSONL") == [Row(URL, "a\u2028b", 0.0), Row(URL, None, None, 9.5)]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("urls.txt", "", "lists nothing; write one address a line"),
        ("urls.txt", "# nothing\n\n \t \n", "lists nothing"),
        ("list.csv", "url,caption\n", "lists nothing"),
        ("urls.txt", b"\xff\xfe\x00h", "is not text in UTF-8"),
        ("urls.txt", b"RIFF\0\0\0\0WAVE", "is not text in UTF-8"),
        ("list.csv", "address\nhttps://example.com\n", "line 2 names no address; give it a column 'url'"),
        ("list.csv", f"url,start_s\n{URL},soon\n", "line 2: start_s is 'soon'; give seconds"),
        ("list.csv", f"url,caption\n{URL},{'x' * 200_000}\n", "is not CSV (field larger"),
        ("list.jsonl", "{", "line 1 is not JSON"),
        ("list.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("list.jsonl", '"https://example.com"', "line 1 is no object"),
        ("list.jsonl", '{"url": 5}', "line 1: url is 5; write it as text"),
        ("list.jsonl", f'{{"url": "{URL}", "caption": ["a"]}}', "caption is ['a']; write it as text"),
        ("list.jsonl", f'{{"url": "{URL}", "start_s": NaN}}', "start_s is nan"),
        ("list.jsonl", f'{{"url": "{URL}", "end_s": -1}}', "end_s is -1"),
        ("list.jsonl", f'{{"url": "{URL}", "end_s": true}}', "end_s is True"),
        ("list.jsonl", f'{{"url": "{URL}", "start_s": 5, "end_s": 5}}', "ends before it starts: start_s 5, end_s 5"),
        ("urls.txt", f"{URL}\t{'x' * 100_000}", "line 1: the caption has 100,000 characters; 10,000 is the most"),
    ],
)  # fmt: skip
def test_a_bad_list_is_one_line(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    with pytest.raises(RapgenError) as caught:
        listed(tmp_path, content, name)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_folder_or_nothing_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(RapgenError, match="is a directory"):
        read_list(tmp_path)
    with pytest.raises(RapgenError, match="no such file"):
        read_list(tmp_path / "urls.txt")


@given(content=st.binary(max_size=200), suffix=st.sampled_from([".txt", ".csv", ".jsonl"]))
def test_any_bytes_are_rows_or_one_error(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        rows = read_list(path)
    except RapgenError:
        return
    assert rows
    assert all(row.url == row.url.strip() and row.url for row in rows)

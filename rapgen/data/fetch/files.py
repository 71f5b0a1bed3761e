"""The files of a RAW folder: safe names, audio without video, and what is known of it beside it."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rapgen.audio.io import audio_stream, open_media
from rapgen.data.fetch import ANY_PAGE
from rapgen.data.fetch.failures import Refused
from rapgen.data.fetch.lists import Row
from rapgen.files import atomic, write_json

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

SUFFIXES = {  # of containers that are kept, by the first of their names
    "aac": ".aac", "aiff": ".aiff", "flac": ".flac", "matroska": ".webm", "mov": ".m4a", "mp3": ".mp3", "ogg": ".ogg",
    "wav": ".wav",
}  # fmt: skip
_MUXERS = {".m4a": "mp4", ".ogg": "ogg", ".webm": "webm"}
_WEBM_CODECS = ("opus", "vorbis")
_MAX_ID = 80  # characters
_MAX_TAGS = 500
_MAX_TEXT = 20_000  # characters
_SECTION: Mapping[str, tuple[type, ...]] = {"caption": (str,), "start_s": (int, float), "end_s": (int, float)}
_TEXTS = ("id", "extractor", "title", "description", "uploader", "license", "webpage_url")


def stem_of(upload: Mapping[str, Any]) -> str:
    """The file name of an upload without suffix: extractor and id, in ASCII letters, digits, `-` and `_`.

    Where that alone could stand for two uploads a few digits of a hash follow.
    """
    extractor, told_id = str(upload.get("extractor_key") or "unknown").lower(), str(upload["id"])
    safe_id = _safe(told_id)
    stem = f"{re.sub(r'[^a-z0-9]+', '_', extractor)}-{safe_id}"
    if safe_id == told_id and extractor not in ANY_PAGE:
        return stem
    whole = json.dumps([extractor, told_id, upload.get("webpage_url")])
    return f"{stem}-{hashlib.sha256(whole.encode()).hexdigest()[:10]}"


def begun_name(stem: str, upload: Mapping[str, Any]) -> str:
    """The name of a download that is not whole; another format of the same upload does not go on with it."""
    return f"{stem}.{_safe(str(upload.get('format_id')))}"


def settle(download: Path, folder: Path, stem: str, max_length_s: float) -> tuple[Path, float | None]:
    """Where a download would stand in the folder, and its length in seconds if it tells; its video is dropped.

    Raises Refused where it is no audio or too long, and OSError where the disk does not take it.
    """
    import av

    try:
        with open_media(download) as container:
            if (stream := audio_stream(container)) is None:
                raise Refused("no audio", is_limit=False)
            duration_s = None if container.duration is None else container.duration / av.time_base
            if duration_s is not None and duration_s > max_length_s:
                raise Refused("too long")
            suffix, is_kept = _suffix(container, stream)
        if not is_kept:
            _drop_video(download, _MUXERS[suffix])
    except av.error.FFmpegError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(error.errno, error.strerror) from None
        raise Refused("not audio", is_limit=False) from None
    return folder / f"{stem}{suffix}", duration_s


def describe(upload: Mapping[str, Any], duration_s: float | None) -> dict[str, Any]:
    """What an uploader and a site say of an upload, in yt-dlp's field names; what is not said is left out."""
    told = {name: str(upload[name])[:_MAX_TEXT] for name in _TEXTS if upload.get(name)}
    tags = [str(tag)[:_MAX_TEXT] for tag in list(upload.get("tags") or ())[:_MAX_TAGS]]
    duration_s = duration_s or upload.get("duration")
    return told | ({"tags": tags} if tags else {}) | ({"duration": round(duration_s, 3)} if duration_s else {})


def read_info(path: Path) -> dict[str, Any] | None:
    """What stands beside an audio file; None where nothing does that can be read."""
    try:
        info = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return info if isinstance(info, dict) else None


def write_info(path: Path, info: Mapping[str, Any], rows: Iterable[Row]) -> None:
    """Write what is known of an upload with what the rows of a list say of it, unless that stands there already."""
    sections = {_range(section): section for section in _sections(info)}
    for row in rows:
        for section in _sections(asdict(row)):
            sections[_range(section)] = sections.get(_range(section), {}) | section
    told = [sections[span] for span in sorted(sections)]
    rest = {name: value for name, value in info.items() if name not in (*_SECTION, "sections")}
    whole = rest | ({"sections": told} if len(told) > 1 else told[0] if told else {})
    if whole != read_info(path):
        write_json(path, whole)


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:_MAX_ID]


def _sections(info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ranges that are told of, with their captions; what has another type than ours is passed over."""
    many = info.get("sections")
    found = many if isinstance(many, list) else [info]
    told = [
        {n: s[n] for n, kinds in _SECTION.items() if isinstance(s.get(n), kinds)} for s in found if isinstance(s, dict)
    ]
    return [section for section in told if section]


def _range(section: Mapping[str, Any]) -> tuple[float, float]:
    return section.get("start_s") or 0.0, section.get("end_s") or math.inf


def _suffix(container: InputContainer, stream: AudioStream) -> tuple[str, bool]:
    """The suffix of a file's audio, and whether it can stay in the container it is in."""
    name = container.format.name.partition(",")[0]
    suffix = SUFFIXES.get(name, ".m4a")
    if suffix == ".webm" and stream.codec_context.name not in _WEBM_CODECS:
        suffix = ".m4a"
    has_video = any("attached_pic" not in str(stream.disposition) for stream in container.streams.video)
    return suffix, SUFFIXES.get(name) == suffix and not has_video


def _drop_video(path: Path, muxer: str) -> None:
    """Put the first audio stream of a file, as it is, into a file of its own in the same place."""
    import av

    with open_media(path) as source, atomic(path) as temporary:
        target = av.open(str(temporary), "w", format=muxer)
        stream = audio_stream(source)
        assert stream is not None
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
        target.close()

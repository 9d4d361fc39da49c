"""Bytes become lines, whatever the pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_supervisor_jobs.hosts.lines import MAX_LINE_BYTES, Line, LineReader, harmless


def read(*pieces: bytes, start: int = 0) -> list[Line]:
    reader = LineReader(start)
    position, lines = start, []
    for piece in pieces:
        lines += reader.feed(piece, position=position, generation=1, time=None)
        position += len(piece)
    return lines + reader.flush()


def texts(*pieces: bytes) -> list[str]:
    return [line.text for line in read(*pieces)]


@pytest.mark.parametrize(
    ("data", "want"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb", ["a", "b"]),
        (b"10%\r20%\rdone\n", ["done"]),
        (b"\r10%\r20%\r\nnext\r\r\n", ["20%", "next"]),
        (b"a\n10%\r20%\r", ["a", "20%"]),
        (b"a\r\n\r\nb", ["a", "", "b"]),
        (b"\n\n", ["", ""]),
        (b"tab\there\n", ["tab\there"]),
        ("grün €\n".encode(), ["grün €"]),
        (b"bad \xff\xfe\n", ["bad \\xff\\xfe"]),
        (b"half \xe2\x82\n", ["half \\xe2\\x82"]),
        (b"\x1b[1;31mred\x1b[0m\x1b[K\n", ["red"]),
        (b"\x1b]0;title\x07\x1b[2J\n", ["\\x1b]0;title\\x07\\x1b[2J"]),
        (b"nul \x00 bell \x07\n", ["nul \\x00 bell \\x07"]),
        ("c1 \x9b31m, turned \u202etxt\n".encode(), ["c1 \\x9b31m, turned \\u202etxt"]),
    ],
)
def test_lines(data: bytes, want: list[str]) -> None:
    assert texts(data) == want
    assert texts(*(bytes([byte]) for byte in data)) == want


@given(st.binary(max_size=200).map(lambda raw: raw.replace(b"a", b"\n").replace(b"b", b"\r")), st.data())
def test_pieces_make_no_difference_and_positions_cover_everything(data: bytes, cuts: st.DataObject) -> None:
    at = sorted(cuts.draw(st.lists(st.integers(0, len(data)))))
    pieces = [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]

    lines = read(*pieces, start=1000)

    assert [line.text for line in lines] == texts(data)
    for line in lines:
        raw = data[line.position - 1000 : line.end - 1000]
        shown = raw.rstrip(b"\r\n").rpartition(b"\r")[2]
        assert harmless(shown.decode("utf-8", "backslashreplace")) == line.text
    assert b"".join(data[line.position - 1000 : line.end - 1000] for line in lines) == data


@given(st.text())
def test_nothing_harmful_is_left(text: str) -> None:
    safe = harmless(text)
    assert not [sign for sign in safe if sign != "\t" and (ord(sign) < 0x20 or 0x7F <= ord(sign) < 0xA0)]


def test_a_long_line_is_cut_between_characters_and_nothing_is_lost() -> None:
    data = "x€".encode() * 60_000 + b"\nnext\n"

    lines = read(*(data[at : at + 8192] for at in range(0, len(data), 8192)))

    assert all(line.end - line.position <= MAX_LINE_BYTES + 3 for line in lines)
    assert all(line.text.endswith("[cut: the line goes on]") for line in lines[:-2])
    whole = "".join(line.text.removesuffix(" [cut: the line goes on]") for line in lines[:-1])
    assert whole == "x€" * 60_000
    assert lines[-1].text == "next"


def test_a_progress_bar_is_told_now_and_then_while_it_goes_on() -> None:
    reader, lines = LineReader(0), []
    for second in range(1000):
        bar = b"step %3d\r" % second
        lines += reader.feed(bar, position=9 * second, generation=1, time=float(second))
    lines += reader.feed(b"\ndone\n", position=9000, generation=1, time=1000.0)

    assert [line.text for line in lines] == [*(f"step {at:3}" for at in range(60, 1000, 60)), "step 999", "done"]
    assert [line.position for line in lines[1:]] == [line.end for line in lines[:-1]]
    assert lines[-1].end == 9006


def test_a_line_end_after_a_told_state_is_no_line() -> None:
    reader = LineReader(0)
    lines = reader.feed(b"a\r", position=0, generation=1, time=0.0)
    lines += reader.feed(b"b\r", position=2, generation=1, time=99.0)
    lines += reader.feed(b"\nc\n", position=4, generation=1, time=99.0)
    assert [line.text for line in lines] == ["b", "c"]


def test_what_is_passed_over_is_said_and_not_called_lost() -> None:
    reader = LineReader(0)
    reader.feed(b"one\nhal", position=0, generation=1, time=None)

    lines = reader.pass_over(100, "left out") + reader.feed(b"f\nten\n", position=99, generation=1, time=None)

    assert [(line.text, line.position, line.end, line.ours) for line in lines] == [
        ("hal", 4, 7, False),
        ("left out", 7, 100, True),
        ("", 100, 101, False),
        ("ten", 101, 105, False),
    ]


def test_what_was_seen_is_left_out() -> None:
    reader = LineReader(0)
    reader.feed(b"one\ntwo\nth", position=0, generation=1, time=None)

    lines = reader.feed(b"two\nthree\n", position=4, generation=1, time=None)

    assert [(line.text, line.position, line.end) for line in lines] == [("three", 8, 14)]
    assert reader.feed(b"two\n", position=4, generation=1, time=None, lost=4) == []


def test_what_is_missing_is_said() -> None:
    reader = LineReader(0)
    reader.feed(b"one\nhal", position=0, generation=1, time=None)

    lines = reader.feed(b"ten\n", position=100, generation=1, time=None, lost=93)

    assert [line.text for line in lines if not line.ours] == ["hal", "ten"]
    (said,) = [line.text for line in lines if line.ours]
    assert "93 bytes of output are lost" in said


def test_a_first_piece_says_what_was_lost_before_it() -> None:
    reader = LineReader()
    lines = reader.feed(b"ten\n", position=100, generation=2, time=5.0, lost=50)
    assert ["50 bytes" in lines[0].text, lines[1].text, lines[1].time] == [True, "ten", 5.0]


def test_a_new_generation_ends_the_line_of_the_old_one() -> None:
    reader = LineReader(0)
    reader.feed(b"cut o", position=0, generation=1, time=None)

    lines = reader.feed(b"hello\n", position=5, generation=2, time=None)

    assert [(line.generation, line.text) for line in lines] == [(1, "cut o"), (2, "hello")]

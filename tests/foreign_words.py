"""What servers, users and forgers may put into a name or an error."""

from __future__ import annotations

from hypothesis import strategies as st

FOREIGN = st.text(st.characters(), min_size=1, max_size=30) | st.sampled_from(
    [
        "a\n2026/01/01 00:00:00 [COPY_OVER] /pnfs/b (forged)",
        "a\r\x1b[2K\x1b]0;title\x07\x9b2J",
        "\u202egpj.exe\u2066\u200f\ufeff",
        "a\xadb\u180e\ufff9\U000e0061",
        "a\x85b\u2028c\u2029d\x0b\x0c\x1c",
        "\ud800\udcff\x7f\0",
        '"},"crc":"00000000"}',
    ]
)

"""What crosses the pipes comes out as it went in."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmirror.core import messages, wire
from dcmirror.core.jobs import Job, JobKind
from dcmirror.core.messages import Drain, Ready, RunJobs

ANY_TEXT = st.text(st.characters(codec=None))  # lone surrogates too
KINDS = [*get_args(messages.ToWorker), *get_args(messages.FromWorker)]

st.register_type_strategy(str, ANY_TEXT)
st.register_type_strategy(float, st.floats(allow_nan=False))
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_a_message_comes_out_as_it_went_in(kind: type, data: st.DataObject) -> None:
    message = data.draw(st.from_type(kind))
    received = wire.decode(wire.encode(message))

    assert received == message
    assert [type(v) for v in _values(received)] == [type(v) for v in _values(message)]


def _values(message: Any) -> list[Any]:
    return [getattr(message, field.name) for field in fields(message)]


JOB = Job("task", JobKind.TRIGGER, "/pnfs/a", "a", "https://door/a", size=1)


def test_a_name_that_no_utf8_can_say_crosses_too() -> None:
    jobs = RunJobs((replace(JOB, path="/pnfs/\udce9"),))

    assert wire.decode(wire.encode(jobs)) == jobs


def test_a_message_of_another_shape_is_refused() -> None:
    ready_without_pid = wire.encode(Ready(1))[:1] + wire.encode(Drain(1.0))[1:]

    with pytest.raises(msgspec.ValidationError):
        wire.decode(ready_without_pid)

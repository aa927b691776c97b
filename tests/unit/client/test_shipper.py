"""One run shipped to a server that is played by the test."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tenuto.client.http import HttpClient, NotFound, NotPermitted, RequestRefused, ServerUnreachable
from tenuto.client.shipper import RunShipper, Step
from tenuto.journal.event import Event, Kind, encode_line
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tenuto.journal.shipment import JournalLock, journal_path, mark_shipped
from tests.unit.journal.runs import dead_header, header, record, state

ADOPTED = {"token": "t", "acked": 0, "logs_acked": 0, "lease_seconds": 60.0, "graph_missing": False}


class Server(HttpClient):
    """Answers what it is told to, by the last part of the path; keeps what was sent."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.bodies: list[bytes] = []

    def request(self, method: str, path: str, body: bytes | None = None, **options: Any) -> Any:
        what = path.rpartition("/")[2]
        assert body is not None
        said = json.loads(body)
        self.sent.append((what, said))
        self.bodies.append(body)
        known = self.answers.get(what, [])
        if known:
            answer = known.pop(0) if len(known) > 1 else known[0]
        elif what == "adopt":
            answer = ADOPTED
        else:
            answer = {"acked": said.get("first", 1) + len(said.get("events", said.get("records", ()))) - 1}
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def asked(self) -> list[str]:
        return [what for what, _ in self.sent]

    def numbers(self, what: str = "events") -> list[list[int]]:
        """Return the numbers of the events of each batch."""
        return [[event["pseq"] for event in said["events"]] for asked, said in self.sent if asked == what]


def refused(slug: str, status: int = 409, **members: Any) -> RequestRefused:
    kind = {403: NotPermitted, 404: NotFound}.get(status, RequestRefused)
    return kind(status, slug, f"The server says {slug}.", members)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def shipper_of(
    home: Home, server: Server, *events: Event, follows: bool = False, alive: bool = False
) -> RunShipper:
    first = header() if alive else dead_header()
    run = record(home, *(events or (state("Running"), state("Success"))), first=first)
    return RunShipper(home, home.run_folder(run), server, lambda seconds: False, follows=follows)


def to_the_end(shipper: RunShipper) -> Step:
    """Take steps until one sends nothing."""
    for _ in range(50):
        done = shipper.step()
        if done is not Step.SENT:
            shipper.close()
            return done
    raise AssertionError("It does not come to an end.")


def marker(shipper: RunShipper) -> str | None:
    path = shipper.folder.parent / ".shipped" / shipper.folder.name
    return path.read_text() if path.exists() else None


def test_events_are_sent_with_their_bytes_and_digest(home: Home) -> None:
    server = Server()
    shipper = shipper_of(home, server)
    assert to_the_end(shipper) is Step.DONE
    assert server.asked == ["adopt", "events"]
    payloads = [line[9:-1] for line in journal_path(shipper.folder).read_bytes().splitlines(keepends=True)]
    digest = hashlib.sha256(b"".join(payloads)).hexdigest().encode()
    body = b'{"epoch":1,"first":1,"events":[' + b",".join(payloads) + b'],"digest":"' + digest + b'"}'
    assert server.bodies[1] == body
    assert (shipper.folder / "1.acked").read_text() == "3"
    assert marker(shipper) == ""


def test_batches_hold_what_the_protocol_lets_them(home: Home) -> None:  # reliability 3.2
    server = Server()
    notes = [Event(kind=Kind.NOTE, message="x" * 1000) for _ in range(1200)]
    long = [Event(kind=Kind.NOTE, message="y" * 400_000) for _ in range(3)]
    shipper = shipper_of(home, server, state("Running"), *notes, *long, state("Success"))
    to_the_end(shipper)
    assert sum(map(len, server.numbers())) == 1206
    assert max(map(len, server.numbers())) == 500
    assert max(map(len, server.bodies)) <= 1 << 20
    assert len(server.numbers()) == 4


def test_what_the_server_has_already_is_not_sent(home: Home) -> None:
    server = Server(adopt=[{**ADOPTED, "acked": 2}])
    assert to_the_end(shipper_of(home, server)) is Step.DONE
    assert server.numbers() == [[3]]


def test_gap_is_filled_from_where_the_server_says(home: Home) -> None:
    server = Server(adopt=[{**ADOPTED, "acked": 2}], events=[refused("gap", expected=1), {"acked": 3}])
    assert to_the_end(shipper_of(home, server)) is Step.DONE
    assert server.numbers() == [[3], [1, 2, 3]]


def test_gap_that_cannot_be_filled_ends_it(home: Home) -> None:
    server = Server(events=[refused("gap", expected=9)])
    shipper = shipper_of(home, server)
    assert to_the_end(shipper) is Step.DONE
    assert marker(shipper) == "The server says gap."


@pytest.mark.parametrize("slug", ["illegal", "conflict", "invalid-request", "payload-too-large"])
def test_what_the_server_will_never_take_is_noted_and_not_sent_again(home: Home, slug: str) -> None:
    server = Server(events=[refused(slug)])
    shipper = shipper_of(home, server)
    assert to_the_end(shipper) is Step.DONE
    assert server.asked == ["adopt", "events"]
    assert (marker(shipper), shipper.is_foreseen) == (f"The server says {slug}.", False)


@pytest.mark.parametrize(("slug", "status"), [("fenced", 409), ("not-found", 404)])
def test_forgotten_token_is_renewed_and_the_rest_sent(home: Home, slug: str, status: int) -> None:
    server = Server(events=[refused(slug, status), {"acked": 3}])
    assert to_the_end(shipper_of(home, server)) is Step.DONE
    assert server.asked == ["adopt", "events", "adopt", "events"]


def test_run_that_stays_fenced_is_given_up_without_a_word(home: Home) -> None:
    server = Server(events=[refused("fenced")])
    shipper = shipper_of(home, server)
    assert to_the_end(shipper) is Step.DONE
    assert server.asked.count("events") == 3
    assert (marker(shipper), shipper.is_foreseen) == ("The server says fenced.", True)


def test_mistake_of_the_server_is_for_later(home: Home) -> None:
    server = Server(events=[refused("internal", 500), {"acked": 3}])
    shipper = shipper_of(home, server)
    assert to_the_end(shipper) is Step.LATER
    assert marker(shipper) is None
    assert to_the_end(shipper) is Step.DONE


@pytest.mark.parametrize(
    "error", [refused("forbidden", 403), refused("", 404), ServerUnreachable("u", "w", is_refused=True)]
)
def test_refusal_that_is_not_about_the_run_is_raised(home: Home, error: Exception) -> None:
    shipper = shipper_of(home, Server(adopt=[error]))
    with pytest.raises(type(error)):
        shipper.step()
    shipper.close()
    assert marker(shipper) is None


@pytest.mark.parametrize("second", [ADOPTED, refused("payload-too-large", 413)], ids=["taken", "too large"])
def test_graph_is_sent_when_it_is_asked_for_and_is_not_worth_the_run(home: Home, second: Any) -> None:
    graph = home.objects_put(b'{"name":"sums"}')
    server = Server(adopt=[{**ADOPTED, "graph_missing": True}, second])
    run = record(home, state("Running"), state("Success"), first=dead_header(graph_sha256=graph))
    shipper = RunShipper(home, home.run_folder(run), server, lambda seconds: False, follows=False)
    assert to_the_end(shipper) is Step.DONE
    assert server.asked == ["adopt", "adopt", "events"]
    assert ["graph" in said for _, said in server.sent] == [False, True, False]
    assert b'"graph":{"name":"sums"}' in server.bodies[1]


def test_run_that_another_process_has_shipped_meanwhile_is_not_sent_again(home: Home) -> None:
    server = Server()
    shipper = shipper_of(home, server)
    mark_shipped(home, shipper.folder.name)
    assert to_the_end(shipper) is Step.DONE
    assert (server.asked, shipper.is_announced) == ([], False)


def test_live_run_is_left_to_its_process_unless_it_is_followed(home: Home) -> None:
    shipper = shipper_of(home, Server(), state("Running"), alive=True)
    assert to_the_end(shipper) is Step.LATER
    server = Server(adopt=[{**ADOPTED, "lease_seconds": 0.001}])
    followed = shipper_of(home, server, state("Running"), alive=True, follows=True)
    assert to_the_end(followed) is Step.IDLE
    assert server.sent[0][1]["alive"] is True
    path = journal_path(followed.folder)
    with open(path, "ab") as file:
        file.write(encode_line(Event(kind=Kind.RUN_STATE, pseq=3, state="Paused")))
    followed.is_closed = True
    assert to_the_end(followed) is Step.DONE
    assert "heartbeat" in server.asked
    # It waits for somebody, and nobody holds it.
    assert server.sent[-1] == ("adopt", {**server.sent[0][1], "alive": False})


def test_run_that_another_process_ships_is_left_to_it(home: Home) -> None:
    server = Server()
    shipper = shipper_of(home, server)
    other = JournalLock(journal_path(shipper.folder))
    assert other.take()
    assert to_the_end(shipper) is Step.LATER
    other.release()
    assert server.asked == []
    assert to_the_end(shipper) is Step.DONE


def test_killed_run_is_closed_before_it_is_announced(home: Home) -> None:
    ends: list[str] = []

    class Looking(Server):
        def request(self, method: str, path: str, body: bytes | None = None, **options: Any) -> Any:
            ends.append([event.state for event in read_events(journal_path(shipper.folder))][-1])
            return super().request(method, path, body, **options)

    server = Looking()
    shipper = shipper_of(home, server, state("Running"))
    assert to_the_end(shipper) is Step.DONE
    assert ends == ["Failed", "Failed"]
    assert server.sent[0][1]["alive"] is False


def test_log_is_sent_beside_the_events_in_order(home: Home) -> None:
    server = Server()
    shipper = shipper_of(home, server)
    lines = [b'{"lseq":%d,"message":"%d"}' % (number, number) for number in range(1, 2501)]
    (shipper.folder / "1.logs.jsonl").write_bytes(b"".join(line + b"\n" for line in lines) + b'{"lseq":2501')
    assert to_the_end(shipper) is Step.DONE
    sent = [said for what, said in server.sent if what == "logs"]
    assert [(said["first"], len(said["records"])) for said in sent] == [(1, 1000), (1001, 1000), (2001, 500)]
    assert server.bodies[server.asked.index("logs")].startswith(
        b'{"epoch":1,"first":1,"records":[' + lines[0]
    )


def test_folder_without_a_beginning_is_for_later(home: Home) -> None:
    folder = home.run_folder("01900000-0000-7000-8000-000000000001")
    folder.mkdir(parents=True)
    server = Server()
    shipper = RunShipper(home, folder, server, lambda seconds: False, follows=False)
    assert to_the_end(shipper) is Step.LATER
    journal_path(folder).write_bytes(b"0000")
    assert to_the_end(shipper) is Step.LATER
    assert server.asked == []

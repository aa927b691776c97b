"""Hostile payloads, taken in and looked at by a real server: nothing of them is executed or unpickled."""

import base64
import itertools
import json
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tenuto.journal.event import ErrorInfo, Event, Kind, ResultRef
from tests.contracts.server_stores import body_of, run_state, task_state
from tests.contracts.test_server_schedules import MINUTELY as SCHEDULE
from tests.fault.harness.figures import figure
from tests.fault.harness.programs import Program
from tests.integration.test_server_api import Api, claimed
from tests.snippets import ROOT

MINUTELY: dict[str, Any] = dict(SCHEDULE)
# Of the standard library, and loaded by nobody: whoever follows one of these names loads it.
MODULES = ["wave", "pyclbr", "tabnanny", "nturl2path", "symtable", "trace", "cProfile", "zipapp", "mailbox"]
UNKNOWN = "tenuto_test_unknown"


class Exploit:
    """What does harm when it is unpickled."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, (self.module,)


def gadgets(module: str) -> Iterator[Any]:
    """Yield values that one or another library turns into objects, or into calls."""
    name = f"{module}.main"
    pickled = pickle.dumps(Exploit(module), protocol=0)
    yield {"__class__": name, "__init__": {"__globals__": {}}}
    yield {"__reduce__": [name, ["id"]], "py/object": name, "py/reduce": [{"py/type": name}]}
    yield {"__exc_type__": name, "exc_message": ["x"], "exc_module": module}
    yield {"__type__": "pickle", "value": base64.b64encode(pickled).decode()}
    yield f"!!python/object/apply:{name} ['id']"
    yield f"!!python/module:{module}"
    yield pickled.decode("latin-1")
    yield {"type": name, "function": name, "serializer": name, "kwargs": {"import": module}}
    yield f"{{x.__class__.__mro__[1].__subclasses__()}} {{{{ cycler.__init__.__globals__.{module} }}}}"
    yield f"__import__('{module}').main()"
    yield f"${{jndi:ldap://127.0.0.1/{module}}}"
    yield f"../../{module}.py\u202e<script>import('{module}')</script>"


class Reader:
    """Takes in payloads, and looks at all that came of them."""

    def __init__(self, api: Api, worker: Api, flow: dict[str, Any], claim: dict[str, Any]) -> None:
        self.api, self.worker, self.flow, self.claim = api, worker, flow, claim
        self.run_id, self.epoch = claim["flow_run"]["id"], claim["epoch"]
        self.next_event, self.next_log = 2, 1
        self.payloads = 0
        self.run_ids: list[str] = []
        body = body_of(self.epoch, 1, [run_state("Running")])
        assert worker("POST", f"/runs/{self.run_id}/events", body).status == 200

    def ask(self, method: str, path: str, body: Any = None, api: Api | None = None) -> Any:
        """Send something hostile; it may be refused, never be too much for the server."""
        answer = (api or self.api)(method, path, body)
        assert answer.status < 500, (method, path, answer.data)
        self.payloads += body is not None
        return answer

    def take_in(self, module: str) -> None:
        """Put what names a module wherever something can be put."""
        for number, gadget in enumerate(gadgets(module)):
            text = gadget if isinstance(gadget, str) else json.dumps(gadget)
            name = f"{module}-{number}-{self.payloads} {text}"[:400]
            self._report(module, gadget, text)
            self.ask("POST", "/projects", {"name": name, "description": text})
            self.ask("PATCH", f"/flow-runs/{self.run_id}", {"name": text[:400]})
            flow: dict[str, Any] = {"name": name, "type": f"{module}.Flow"}
            flow["parameters"] = [{"name": "n", "default": gadget}]
            flow["tasks"] = [{"slug": text, "type": f"{module}.Task", "result": gadget}]
            flow["schedule"] = {**MINUTELY, "type": f"{module}.Schedule", "filters": [gadget]}
            body = {"project": self.flow["project"], "serialized_flow": flow, "storage": {"type": text}}
            self.ask("POST", "/flows", {**body, "run_config": {"type": f"{module}.Run", "env": {"x": text}}})
            run: dict[str, Any] = {"flow_group_id": self.flow["flow_group_id"], "parameters": {"n": gadget}}
            made = self.ask(
                "POST", "/flow-runs", {**run, "context": {"x": gadget}, "labels": [text], "name": name}
            )
            self.run_ids = [made.json()["flow_run"]["id"], *self.run_ids[:2]]
            described = {**MINUTELY, "clocks": [{**MINUTELY["clocks"][0], "type": f"{module}.Clock"}]}
            for odd in (described, {**MINUTELY, "adjustments": [gadget]}, {**MINUTELY, "type": text}):
                self.ask("POST", "/schedules/preview", {"described": odd})
                self.ask("PUT", f"/flow-groups/{self.flow['flow_group_id']}/schedule", {"described": odd})
            header = {
                "flow_run_id": self.run_ids[0],
                "flow": name,
                "python": text,
                "executor": f"{module}.main",
            }
            self.ask("POST", "/runs/adopt", {"header": header, "alive": False, "graph": gadget})
            self.ask("POST", "/runs/adopt", pickle.dumps(Exploit(module)))
            self.ask("POST", f"/runs/{self.run_id}/events", pickle.dumps(Exploit(module)), self.worker)

    def _report(self, module: str, gadget: Any, text: str) -> None:
        slug = f"s{self.next_event}"
        error = ErrorInfo(type=f"{module}.Error", message=text, traceback=text)
        result = ResultRef(kind="result", location=f"file:///{text[:200]}", serializer=f"{module}.main")
        events: list[Event] = [
            task_state(slug, "Running", message=text),
            task_state(slug, "Failed", message=text, error=error, cause=text[:50]),
            task_state(slug + "b", "Running"),
            task_state(slug + "b", "Success", result=result),
            Event(kind=Kind.ARTIFACT, slug=slug, data={"kind": text, "key": text, "body": gadget}),
            Event(kind=Kind.NOTE, message=text, data={"x": gadget}),
        ]
        body = body_of(self.epoch, self.next_event, events)
        answer = self.ask("POST", f"/runs/{self.run_id}/events", body, self.worker)
        assert answer.status == 200, answer.data
        self.next_event += len(events)
        self.payloads += len(events) - 1
        records = [{"lseq": self.next_log, "message": text, "logger": f"{module}.main", "exc": gadget}]
        logs = {"epoch": self.epoch, "first": self.next_log, "records": records}
        assert self.ask("POST", f"/runs/{self.run_id}/logs", logs, self.worker).status == 200, logs
        self.next_log += 1

    def look(self, module: str) -> int:
        """Ask every route that shows something; return how many there were."""
        document = self.api("GET", "/openapi.json").json()
        tasks = self.api("GET", f"/flow-runs/{self.run_id}/task-runs?limit=200").json()["items"]
        shown = 0
        for path, operations in document["paths"].items():
            route = path.removeprefix("/api/v1")
            if "get" not in operations or route in ("/events", "/flow-runs/{id}/logs/follow", "/login"):
                continue
            for filled in self._filled(route, tasks):
                for query in ("", f"?q={module}&limit=50", f"?param.n={module}.main&sort={module}"):
                    self.ask("GET", filled + query)
                    shown += 1
        lines = self.api.lines("/events?topics=flow_runs,flows&after=0.0.0")
        list(itertools.islice(lines, 20))
        list(itertools.islice(self.api.lines(f"/flow-runs/{self.run_id}/logs/follow"), self.next_log - 1))
        return shown

    def _filled(self, route: str, tasks: list[dict[str, Any]]) -> Iterator[str]:
        if not route.startswith("/flow-runs"):
            ids = {"/projects": "project_id", "/flow-groups": "flow_group_id", "/flows": "id"}
            name = ids.get("/" + route.split("/")[1], "id")
            filled = route.replace("{project}", "x").replace("{flow}", "x")
            yield filled.replace("{id}", str(self.flow.get(name, self.flow["id"])))
            return
        for run_id in (self.run_id, *self.run_ids) if "{id}" in route else [""]:
            task = tasks[0]["id"] if tasks else run_id
            yield route.replace("{id}", run_id).replace("{task_run_id}", task)


def reader(url: str, key: str) -> Reader:
    """Return what has a run whose worker reports, and a flow to make more of."""
    api = Api(url, key)
    api("POST", "/projects", {"name": "hostile"})
    body = {
        "project": "hostile",
        "serialized_flow": {"name": "f", "parameters": [{"name": "n", "required": True}]},
    }
    flow = {"project": "hostile", **api("POST", "/flows", body).json()}
    claim = claimed(api, flow)
    return Reader(api, Api(url, claim["lease_token"]), flow, claim)


def test_nothing_that_is_sent_is_executed(tmp_path: Path) -> None:
    # S-9, S-11, I-22
    home, written = tmp_path / "home", tmp_path / "audited"
    server = Program(
        *(
            "tests.fault.harness.audited",
            written,
            "tenuto",
            "server",
            "start",
            "--port",
            "0",
            "--no-services",
        ),
        folder=tmp_path / "program",
        env={"TENUTO__HOME_DIR": str(home)},
        cwd=ROOT,
    )
    with server:
        url = server.start().wait_for("Tenuto server ready at (.*)")[1]
        reading = reader(url, (home / "server.key").read_text())
        # What the server loads when it is first needed is not what this is about: it is loaded now, by names
        # that lead nowhere.
        reading.take_in(UNKNOWN)
        reading.look(UNKNOWN)
        server.send(signal.SIGUSR1)
        server.wait_for("It is watched")
        reading.payloads = 0

        shown = 0
        for number, module in enumerate(MODULES):
            reading.take_in(module)
            if number % 4 == 0:
                shown += reading.look(module)

        server.send(signal.SIGUSR2)
        server.wait_for("It was looked at")
        hits = written.read_text().splitlines()
        server.send(signal.SIGHUP)
        server.wait_for("It was done")
        seen = {line.split()[0] for line in written.read_text().splitlines()[len(hits) :]}
    assert seen == {"pickle.find_class", "exec", "import"}, "What must not happen would not have been seen."
    figure("payload_audit", payloads=reading.payloads, views=shown, hits=len(hits))
    assert reading.payloads >= 2_000
    assert not hits, hits[:20]

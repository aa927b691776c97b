"""Python source: what becomes of it, what is listed, and that nothing else changes."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.compat.migration.python_source import migrate_python

# Statements that stand behind HEAD, and what becomes of them.
STATEMENTS = {
    # What is imported.
    "import prefect": "import tenuto",
    "import prefect as p": "import tenuto as p",
    "import os, prefect , sys": "import os, tenuto , sys",
    "import prefect.engine.signals": "import tenuto.engine.signals",
    "import prefect.tasks.prefect as tasks": "import tenuto.tasks.prefect as tasks",
    "from prefect import Flow, task": "from tenuto import Flow, task",
    "from prefect import (  # all\n    Flow,\n\tcase as c,\n)": (
        "from tenuto import (  # all\n    Flow,\n\tcase as c,\n)"
    ),
    "from  prefect.engine . signals  import SKIP": "from  tenuto.engine.signals  import SKIP",
    "from prefect.core.task import Task": "from tenuto.core.task import Task",
    "from prefect.run_configs.kubernetes import KubernetesRun": (
        "from tenuto.run_configs.kubernetes import KubernetesRun"
    ),
    "try:\n    from prefect import Flow\nexcept ImportError:\n    Flow = None": (
        "try:\n    from tenuto import Flow\nexcept ImportError:\n    Flow = None"
    ),
    # older addresses
    "import prefect.engine.executors": "import tenuto.executors",
    "import prefect.environments.storage as st": "import tenuto.storage as st",
    "from prefect.engine.executors import LocalExecutor": "from tenuto.executors import LocalExecutor",
    "from prefect.engine.executors.base import Executor": "from tenuto.executors.base import Executor",
    "from prefect.engine import executors": "from tenuto import executors",
    "from prefect.engine import executors, signals": "from tenuto.engine import executors, signals",
    "from prefect.environments import storage": "from tenuto import storage",
    "from prefect.environments.storage import GitHub": "from tenuto.storage import GitHub",
    "from prefect.utilities.exceptions import ClientError": "from tenuto.exceptions import ClientError",
    "from prefect.utilities.exceptions import PrefectError, ClientError": (
        "from tenuto.exceptions import PrefectException as PrefectError, ClientError"
    ),
    "from prefect.utilities.exceptions import PrefectError as E": (
        "from tenuto.exceptions import PrefectException as E"
    ),
    "from prefect.utilities.tasks import unmapped": "from tenuto import unmapped",
    "from prefect.tasks.secrets import Secret": "from tenuto.tasks.secrets import PrefectSecret as Secret",
    "prefect.engine.executors.LocalExecutor()": "tenuto.executors.LocalExecutor()",
    "x = prefect . engine \\\n  .executors . LocalExecutor": "x = tenuto.executors . LocalExecutor",
    "(prefect # why\n .engine # here\n .executors.LocalExecutor)": (
        "(tenuto # why\n .engine # here\n .executors.LocalExecutor)"
    ),
    "prefect.environments.storage.Docker": "tenuto.storage.Docker",
    "prefect.utilities.exceptions.PrefectError": "tenuto.exceptions.PrefectException",
    # names
    "prefect.context.get('logger').info('prefect')": "tenuto.context.get('logger').info('prefect')",
    "é = 'ü'; prefect.Flow('é'); prefect.Flow": "é = 'ü'; tenuto.Flow('é'); tenuto.Flow",
    "@prefect.task(name='x')\ndef f(a: prefect.Flow = prefect.x): pass": (
        "@tenuto.task(name='x')\ndef f(a: tenuto.Flow = tenuto.x): pass"
    ),
    "with prefect.context(a=1), prefect.Flow('x') as flow: pass": (
        "with tenuto.context(a=1), tenuto.Flow('x') as flow: pass"
    ),
    "x = [prefect.Task() for prefect.context.a in y]": "x = [tenuto.Task() for tenuto.context.a in y]",
    "x = [prefect for prefect in y]": "x = [prefect for prefect in y]",
    "f'{prefect.__name__}: {x!r:>{prefect.context.width}}'": (
        "f'{tenuto.__name__}: {x!r:>{tenuto.context.width}}'"
    ),
    "x: 'list[prefect.Flow]' = []": "x: 'list[tenuto.Flow]' = []",
    "def f(prefect): return prefect.x": "def f(prefect): return prefect.x",
    "lambda prefect: prefect.x": "lambda prefect: prefect.x",
    "f(prefect=prefect.x, *prefect.y).prefect.engine": "f(prefect=tenuto.x, *tenuto.y).prefect.engine",
    "def f():\n    global prefect\n    prefect.x = 1\n    del prefect": (
        "def f():\n    global tenuto\n    tenuto.x = 1\n    del tenuto"
    ),
    "def f():\n    import prefect\n    def g():\n        nonlocal prefect\n        prefect = None": (
        "def f():\n    import tenuto\n    def g():\n        nonlocal tenuto\n        tenuto = None"
    ),
    "try:\n    import prefect\nexcept ImportError:\n    prefect = None": (
        "try:\n    import tenuto\nexcept ImportError:\n    tenuto = None"
    ),
    "class A:\n    prefect = 1\n    x = prefect\n    def f(self): return prefect.x, self.prefect": (
        "class A:\n    prefect = 1\n    x = prefect\n    def f(self): return tenuto.x, self.prefect"
    ),
    # variables
    "os.environ['PREFECT__FLOWS__CHECKPOINTING'] = 'true'": (
        "os.environ['TENUTO__FLOWS__CHECKPOINTING'] = 'true'"
    ),
    "x = {'PREFECT__CONTEXT__SECRETS__Key': 1, b'PREFECT__A': 2}": (
        "x = {'TENUTO__CONTEXT__SECRETS__Key': 1, b'TENUTO__A': 2}"
    ),
    "x = f'PREFECT__CONTEXT__SECRETS__{name}' + r'PREFECT__'": (
        "x = f'TENUTO__CONTEXT__SECRETS__{name}' + r'TENUTO__'"
    ),
    "x = ['PREFECT__LOGGING__LEVEL=DEBUG', dict(PREFECT__BACKEND='server')]": (
        "x = ['TENUTO__LOGGING__LEVEL=DEBUG', dict(TENUTO__BACKEND='server')]"
    ),
    "f('PREFECT__LOGGING__LOG_TO_CLOUD')": "f('TENUTO__CLOUD__SEND_FLOW_RUN_LOGS')",
    "'''PREFECT__BACKEND'''": "'''PREFECT__BACKEND'''",
    # commands
    "subprocess.run(['prefect', 'register', '--project', 'prefect'])": (
        "subprocess.run(['tenuto', 'register', '--project', 'prefect'])"
    ),
    "subprocess.check_call(('python', '-m', 'prefect', 'version') + rest, env=e)": (
        "subprocess.check_call(('python', '-m', 'tenuto', 'version') + rest, env=e)"
    ),
    "os.system(f'cd é && PREFECT__BACKEND=server prefect run -n {x}; ls prefect')": (
        "os.system(f'cd é && TENUTO__BACKEND=server tenuto run -n {x}; ls prefect')"
    ),
    "os.system('prefect register ' + path)": "os.system('tenuto register ' + path)",
    "os.system('echo prefect; python -m prefect version')": (
        "os.system('echo prefect; python -m tenuto version')"
    ),
    "print(['prefect', 'register'])": "print(['prefect', 'register'])",
    # paths
    "logging.getLogger('prefect').addFilter(f)": "logging.getLogger('tenuto').addFilter(f)",
    "logging.getLogger('prefect.TaskRunner')": "logging.getLogger('tenuto.TaskRunner')",
    "importlib.import_module('prefect.engine.executors')": "importlib.import_module('tenuto.executors')",
    "mock.patch('prefect.client.Client.register')": "mock.patch('tenuto.client.Client.register')",
}
# Whatever stands around them.
OTHERS = [
    "",
    "# import prefect; PREFECT__BACKEND",
    "x = 'from prefect import Flow'   # \t ",
    "from prefects import prefect_x",
    "from . import tenuto_x",
    "if  x :\n\ty=1  \n        \n\tz = 2;",
    'é = """a\n\\\n\tü"""',
    "x = 1 if prefect_ else(2)",
]
HEAD = "import prefect, os, subprocess"


@pytest.mark.parametrize(("before", "after"), STATEMENTS.items(), ids=STATEMENTS)
def test_statements_become_those_of_tenuto(before: str, after: str) -> None:  # R-REAL-2, R-REAL-17
    ast.parse(before)
    migrated = migrate_python(f"{HEAD}\n{before}\n")
    assert migrated.text == f"import tenuto, os, subprocess\n{after}\n"


@given(
    statements=st.lists(st.sampled_from([*STATEMENTS.items(), *zip(OTHERS, OTHERS, strict=True)])),
    newline=st.sampled_from(["\n", "\r\n"]),
    # libcst forgets some of what stands behind the last statement.
    ending=st.sampled_from(["", "\n", "  # prefect", "\n\n\t\n", "\n\n  # prefect\n\x0c\n#"]),
)
def test_only_what_is_ours_changes_and_only_once(
    statements: list[tuple[str, str]], newline: str, ending: str
) -> None:
    before = "\n".join([HEAD, *(statement for statement, _ in statements)]) + ending
    expected = "\n".join(["import tenuto, os, subprocess", *(after for _, after in statements)]) + ending
    migrated = migrate_python(before.replace("\n", newline))
    assert migrated.text == expected.replace("\n", newline)
    assert migrate_python(migrated.text).text == migrated.text


@given(st.text(alphabet="prefect import\n\t\r\x0c\ufeff.é'\"#()=:\\"))
def test_no_text_makes_it_fail(text: str) -> None:
    migrated = migrate_python(text)
    assert migrate_python(migrated.text).text == migrated.text


@pytest.mark.parametrize(
    "source",
    [
        "import prefect\ntenuto = 1\nprefect.x\n",
        "import prefect\nfrom sheet import tenuto\nprefect.x\n",
        "import prefect\ndef play(tenuto): return prefect.x\n",
        "import prefect\nimport other as prefect\nprefect.x\n",
        "def f(prefect=None):\n    import prefect\n    return prefect.x\n",
        "import prefect\ndef prefect(): pass\nprefect.x\n",
    ],
)
def test_the_name_stays_where_the_new_one_would_be_in_the_way(source: str) -> None:
    migrated = migrate_python(source)
    assert migrated.text == source.replace("import prefect\n", "import tenuto as prefect\n")
    assert migrate_python(migrated.text).text == migrated.text


def test_older_addresses_are_found_below_a_name_that_stays() -> None:
    source = "import prefect.engine.executors\ntenuto = 1\nprefect.engine.executors.LocalExecutor()\n"
    after = "import tenuto as prefect\ntenuto = 1\nprefect.executors.LocalExecutor()\n"
    assert migrate_python(source).text == after


FINDINGS = {
    "from prefect.tasks.snowflake import SnowflakeQuery": "prefect.tasks.snowflake.SnowflakeQuery is not",
    "import prefect.tasks.aws.s3": "prefect.tasks.aws.s3 is not part",
    "prefect.tasks.docker.PullImage()": "prefect.tasks.docker.PullImage is not part",
    "from prefect.tasks.notifications import PushbulletTask": "Use SlackTask or EmailTask",
    "from prefect.tasks.database import SQLiteQuery as Q": "sqlite3.connect(db)",
    "from prefect.executors import SynchronousExecutor": "Use LocalExecutor",
    "from prefect.engine.executors import SynchronousExecutor": "Use LocalExecutor",
    "from prefect.environments import LocalEnvironment": "Give the flow its executor=",
    "from prefect.environments import storage, LocalEnvironment": "It is tenuto.storage now",
    "from prefect.engine.result_handlers import LocalResultHandler": "tenuto.engine.results",
    "from prefect.agent.kubernetes import KubernetesAgent": "tenuto agent local start",
    "from prefect.utilities.graphql import with_args": "There is no GraphQL",
    "from prefect.storge import Local": "Is tenuto.storage meant?",
    "import prefect.environments.execution as e\ne.LocalEnvironment()": "environments.execution is not part",
    "print(prefect.__version__)": "becomes Tenuto's version",
    "prefect.config.cloud.graphql": "the setting prefect.config.cloud.graphql means nothing",
    "prefect.Client().graphql('{}')": "Client.graphql is not part",
    "client = prefect.client.Client()\nclient.graphql('{}')": "Client.graphql is not part",
    "prefect.Flow('x', environment=e)": "Flow(environment=...) is not part",
    "@prefect.task(result_handler=r)\ndef f(): pass": "task(result_handler=...) is not part",
    "from prefect.engine.results import LocalResult as L\nL(validators=[])": "LocalResult(validators=...) is",
    "os.environ['PREFECT__CLOUD__TENANT_ID']": "the setting PREFECT__CLOUD__TENANT_ID means nothing",
    "subprocess.run(['prefect', 'agent', 'kubernetes', 'start'])": "the command prefect agent kubernetes is",
    "os.system('prefect run flow --name x')": "the command prefect run flow is",
    "x = 'see PREFECT__CLOUD__API'": "a text names PREFECT__CLOUD__API",
    "x = 'prefect.engine.executors.DaskExecutor'": "Write tenuto.executors.DaskExecutor",
    "x = 'prefect agent local start'": "begins like a command of prefect",
    "setup(install_requires=['prefect[aws]>=0.15'])": "prefect is required here",
}


@pytest.mark.parametrize(("statement", "told"), FINDINGS.items(), ids=FINDINGS)
def test_what_cannot_be_carried_over_is_listed_with_its_line(statement: str, told: str) -> None:
    last = statement.count("\n") + 4
    findings = migrate_python(f"{HEAD}\n\n\n{statement}\n").findings
    lines = [str(found) for found in findings if told in str(found)]
    assert lines, findings
    assert lines[0].startswith(("4: ", f"{last}: "))


@pytest.mark.parametrize(
    "statement",
    [
        "from prefect.tasks.prefect import create_flow_run",
        "from prefect.tasks.control_flow.case import case",
        "from prefect.client import Client, Secret\nclient = Client()\nclient.create_flow_run('x')",
        "prefect.context.config.server.x; prefect.context['graphql']",
        "prefect.config.cloud.api; prefect.config.mine.own",
        "from prefect.engine.state import Failed\nFailed.whatever",
        "other.graphql('x'); Flow(environment=1)",
        "x = 'prefect'; y = 'prefect.io'; z = 'a prefect of Rome'; print('prefect! prefect')",
        "from prefect import *",
    ],
)
def test_what_is_there_is_not_listed(statement: str) -> None:
    assert migrate_python(f"{HEAD}\n{statement}\n").findings == ()


@pytest.mark.parametrize(
    "source",
    [
        "import tenuto\ntenuto.engine.executors.LocalExecutor()\n",
        "from tenuto.engine.executors import LocalExecutor\n",
        "from tenuto.utilities.tasks import unmapped\nfrom tenuto.engine import executors\nexecutors.x\n",
    ],
)
def test_what_imports_tenuto_already_stays(source: str) -> None:
    assert migrate_python(source).text == source


def test_what_is_still_to_be_done_is_listed_again_in_a_file_that_is_migrated() -> None:
    once = migrate_python("from prefect.tasks.snowflake import SnowflakeQuery\n")
    again = migrate_python(once.text)
    assert [found.line for found in again.findings] == [1]
    assert again.findings[0].what == "tenuto.tasks.snowflake.SnowflakeQuery is not part of Tenuto"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import prefect\nprint 'x'\n", 2),
        ("import prefect\n\x0cimport os\n", 2),
        ("import prefect\nx = " + "(" * 3000 + ")" * 3000, 2),
        ("import prefect\nx = " + "+".join("a" * 5000), 1),
    ],
    ids=["python 2", "form feed", "brackets", "long sum"],
)
def test_source_that_cannot_be_read_is_one_finding_and_stays(source: str, line: int) -> None:
    migrated = migrate_python(source)
    assert migrated.text == source
    assert [found.line for found in migrated.findings] == [line]
    assert migrated.findings[0].instead == "Correct that, or migrate the file by hand."


def test_files_of_others_are_not_even_parsed() -> None:
    assert migrate_python("print 'x'").findings == ()

"""Commands of dbt as tasks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from tenuto._base.files import write_atomic
from tenuto._base.masking import register_secret
from tenuto.core.authoring import defaults_from_attrs
from tenuto.tasks.shell import ShellTask

__all__ = ["DbtShellTask"]


class DbtShellTask(ShellTask):
    """
    Runs a dbt command in a shell, with a `profiles.yml` that it writes from keyword arguments.

    Args:
        command: such as `dbt run`; it may also be given by the call, as may `env`, `helper_script` and
            `dbt_kwargs`.
        profile_name: name of the profile in `profiles.yml`.
        env: variables added to those of this process.
        environment: name of the profile's only output, its target.
        overwrite_profiles: write `profiles.yml` also where there is one.
        profiles_dir: folder of `profiles.yml`; default: variable `DBT_PROFILES_DIR`, else `~/.dbt`.
        set_profiles_envar: let dbt look for `profiles.yml` in that folder (`DBT_PROFILES_DIR`).
        dbt_kwargs: the fields of the output: `{"type": "postgres", "host": ..., "password": ...}`.
        helper_script, shell, return_all, log_stderr, **kwargs: those of `ShellTask`.
    """

    def __init__(
        self,
        command: str | None = None,
        profile_name: str | None = None,
        env: Mapping[str, str] | None = None,
        environment: str | None = None,
        overwrite_profiles: bool = False,
        profiles_dir: str | None = None,
        set_profiles_envar: bool = True,
        dbt_kwargs: Mapping[str, Any] | None = None,
        helper_script: str | None = None,
        shell: str = "bash",
        return_all: bool = False,
        log_stderr: bool = False,
        **kwargs: Any,
    ) -> None:
        self.profile_name = profile_name
        self.environment = environment
        self.overwrite_profiles = overwrite_profiles
        self.profiles_dir = profiles_dir
        self.set_profiles_envar = set_profiles_envar
        self.dbt_kwargs = dbt_kwargs
        super().__init__(
            command=command,
            env=env,
            helper_script=helper_script,
            shell=shell,
            return_all=return_all,
            log_stderr=log_stderr,
            **kwargs,
        )

    @defaults_from_attrs("command", "env", "helper_script", "dbt_kwargs")
    def run(
        self,
        command: str | None = None,
        env: Mapping[str, str] | None = None,
        helper_script: str | None = None,
        dbt_kwargs: Mapping[str, Any] | None = None,
    ) -> str | list[str] | None:
        """
        Return the last line of the command's output (None if there is none), or all of them.

        Raises:
            TypeError: without a command.
            ValueError: if `profiles.yml` is to be written and `profile_name` or `environment` is missing.
            FAIL: if the command ends with another exit code than 0; its result is the output.
        """
        folder = os.path.realpath(
            os.path.expanduser(self.profiles_dir or os.environ.get("DBT_PROFILES_DIR") or "~/.dbt")
        )
        path = os.path.join(folder, "profiles.yml")
        if self.overwrite_profiles or (dbt_kwargs and not os.path.exists(path)):
            self._write_profiles(path, dbt_kwargs or {})
        if self.set_profiles_envar:
            env = {"DBT_PROFILES_DIR": folder, **(env or {})}
        return super().run(command=command, env=env, helper_script=helper_script)

    def _write_profiles(self, path: str, dbt_kwargs: Mapping[str, Any]) -> None:
        if not self.profile_name or not self.environment:
            raise ValueError(
                f"DbtShellTask needs `profile_name` and `environment` to write {path!r}. "
                "Give both, or let dbt use a profiles.yml of yours: leave out `dbt_kwargs`."
            )
        output = dict(dbt_kwargs)
        for name in ("password", "pass", "token", "private_key_passphrase"):
            register_secret(output.get(name))
        profiles = {self.profile_name: {"outputs": {self.environment: output}, "target": self.environment}}
        # JSON is YAML. For this user only: there may be a password in it.
        text = json.dumps(profiles, indent=2, default=str)
        write_atomic(path, [text.encode()], private=True, fsync=False)

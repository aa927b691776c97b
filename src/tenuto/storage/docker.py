"""Docker storage, as data."""

from typing import Any

from tenuto.storage.base import Storage

__all__ = ["Docker"]


class Docker(Storage):
    """Flows in container images. Kept as data: flows are neither built nor fetched with it here."""

    def __init__(
        self,
        registry_url: str | None = None,
        base_image: str | None = None,
        dockerfile: str | None = None,
        dockerignore: str | None = None,
        python_dependencies: list[str] | None = None,
        image_name: str | None = None,
        image_tag: str | None = None,
        env_vars: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
        tenuto_version: str | None = None,
        local_image: bool = False,
        ignore_healthchecks: bool = False,
        base_url: str | None = None,
        tls_config: Any = False,
        build_kwargs: dict[str, Any] | None = None,
        prefect_directory: str | None = None,
        path: str | None = None,
        stored_as_script: bool = False,
        extra_dockerfile_commands: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.registry_url = registry_url
        self.base_image = base_image
        self.dockerfile = dockerfile
        self.dockerignore = dockerignore
        self.python_dependencies = python_dependencies
        self.image_name = image_name
        self.image_tag = image_tag
        self.env_vars = env_vars
        self.files = files
        self.tenuto_version = tenuto_version
        self.local_image = local_image
        self.ignore_healthchecks = ignore_healthchecks
        self.base_url = base_url
        self.tls_config = tls_config
        self.build_kwargs = build_kwargs
        self.prefect_directory = prefect_directory
        self.path = path
        self.extra_dockerfile_commands = extra_dockerfile_commands
        super().__init__(stored_as_script=stored_as_script, **kwargs)

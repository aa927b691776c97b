"""
Templates for targets, locations and run names: names in braces, filled with plain values.

`str.format` lets a template walk through attributes and items of what it is given, and call what it finds
there. Here a field is a name, or one entry of `parameters`, with a format specification: `{date:%Y-%m-%d}`,
`{parameters[region]}`.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from uuid import UUID

__all__ = ["OUTPUT_BYTES_MAX", "TemplateError", "field_names", "fill"]

OUTPUT_BYTES_MAX = 4096
_SPEC_LENGTH_MAX = 200
_FORMATTER = string.Formatter()  # for its parser only
_INDEXED = "parameters"
_FIELD = re.compile(r"([^\W\d]\w*)(?:\[([^\[\]{}]+)\])?")
_NUMBER = re.compile(r"\d+")
# What stands for something else in a path, and the per cent signs that would make its replacement ambiguous.
_RESERVED = re.compile(r"%(?=2F|2E|25|5C|00)|[/\\\0]", re.IGNORECASE)
_REPLACEMENTS = {"/": "%2F", "\\": "%5C", "\0": "%00", "%": "%25"}
_DOTS = "%2E%2E"


class TemplateError(ValueError):
    """A template asks for something that templates cannot do; `template` and `problem` say where and what."""

    def __init__(self, template: str, problem: str) -> None:
        self.template = template
        self.problem = problem
        shown = template if len(template) <= 200 else template[:200] + "…"
        super().__init__(f"The template {shown!r} cannot be used: {problem}")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.template, self.problem)


def fill(template: str, values: Mapping[str, object], *, as_path: bool) -> str:
    r"""
    Return a template filled with values.

    A field is `{name}` or `{parameters[key]}`, with a format specification after a colon where wanted; `{{`
    and `}}` stand for braces. Values are text, numbers, booleans, dates, date-times and UUIDs (a None is
    written as `None`).

    Args:
        template: the text.
        values: by name; those that the template does not name may be anything.
        as_path: a value fills part of one folder or file name: `/`, `\` and `..` inside it are written
            `%2F`, `%5C` and `%2E%2E`. Slashes of the template itself, those in date formats included,
            separate folders.

    Raises:
        KeyError: for a name that has no value.
        TemplateError: for anything but such fields and values, and for more than 4 KB of output.
    """
    if "{" not in template and "}" not in template:
        _check_length(template, template)
        return template
    pieces: list[str] = []
    from_value: list[bool] = []
    length = 0
    for literal, field, spec in _parse(template):
        if literal:
            pieces.append(literal)
            from_value.append(False)
        if field is not None:
            value = _value(template, field, values)
            for piece, is_value in _formatted(template, field, value, spec, as_path):
                pieces.append(piece)
                from_value.append(is_value)
                length += len(piece)
                if length > OUTPUT_BYTES_MAX:
                    raise _too_long(template)
    text = "".join(pieces)
    _check_length(template, text)
    if as_path:
        text = _without_climbing(pieces, from_value, text)
        if text.startswith("/") and not template.startswith("/"):
            raise TemplateError(
                template, "an empty value at its beginning would make the path start at the root."
            )
    return text


def field_names(template: str) -> frozenset[str]:
    """
    Return the names that a template uses; of `{parameters[key]}` it is `parameters`.

    Raises:
        TemplateError: for a template that `fill` refuses whatever the values are.
    """
    fields = [field for _, field, _ in _parse(template) if field is not None]
    return frozenset(_field_parts(template, field)[0] for field in fields)


@functools.lru_cache(maxsize=256)
def _parse(template: str) -> tuple[tuple[str, str | None, str], ...]:
    """Return literal texts, each with field and format specification; refuse all other syntax."""
    try:
        parts = list(_FORMATTER.parse(template))
    except ValueError as error:
        raise TemplateError(
            template, f"{error}. Write {{{{ and }}}} for braces that are meant as such."
        ) from None
    checked: list[tuple[str, str | None, str]] = []
    for literal, field, spec, conversion in parts:
        if field is None:
            checked.append((literal, None, ""))
            continue
        if conversion is not None:
            raise TemplateError(template, f"conversions such as '!{conversion}' are not offered.")
        spec = spec or ""
        if "{" in spec or "}" in spec:
            raise TemplateError(template, f"the format of {{{field}}} contains a field itself.")
        if len(spec) > _SPEC_LENGTH_MAX or any(int(n) > OUTPUT_BYTES_MAX for n in _NUMBER.findall(spec)):
            raise TemplateError(
                template, f"the format of {{{field}}} asks for more than {OUTPUT_BYTES_MAX} characters."
            )
        checked.append((literal, field, spec))
    return tuple(checked)


def _field_parts(template: str, field: str) -> tuple[str, str | None]:
    """Return the name and the index of a field."""
    match = _FIELD.fullmatch(field)
    if match is None:
        raise TemplateError(
            template,
            f"{{{field}}} is not a plain name. Fields are names such as {{task_name}}, or "
            "{parameters[name]}; attributes, further indices and positions are not offered.",
        )
    name, key = match.groups()
    if key is not None and name != _INDEXED:
        raise TemplateError(template, f"only `parameters` takes an index, not {name!r}.")
    return name, key


def _value(template: str, field: str, values: Mapping[str, object]) -> object:
    name, key = _field_parts(template, field)
    try:
        if key is None:
            return values[name]
        parameters = values[name]
        if not isinstance(parameters, Mapping):
            raise TemplateError(template, "`parameters` is not a mapping here.")
        return parameters[key]
    except KeyError as error:
        error.add_note(
            f"The template {template!r} names it. There are the task's inputs, the flow's parameters and the "
            "values of the context."
        )
        raise


def _formatted(
    template: str, field: str, value: object, spec: str, as_path: bool
) -> Iterator[tuple[str, bool]]:
    """Yield the text of a field in pieces, each with whether it comes from the value."""
    try:
        if not as_path:
            yield _format_plain(value, spec), True
        elif isinstance(value, date) and "/" in spec:
            # These slashes are the template's: `{date:%Y/%m/%d}` means three folders.
            for number, part in enumerate(spec.split("/")):
                if number:
                    yield "/", False
                if part:
                    yield _escaped(_format_plain(value, part)), True
        else:
            yield _escaped(_format_plain(value, spec)), True
    except _NotPlain:
        raise TemplateError(
            template,
            f"{{{field}}} is of type {type(value).__name__}. Only text, numbers, booleans, dates and "
            "UUIDs can fill a template; for anything else give a function in the template's place.",
        ) from None
    except (ValueError, TypeError, OverflowError) as error:
        raise TemplateError(template, f"{{{field}}} cannot be formatted with {spec!r}: {error}.") from None


class _NotPlain(Exception):
    pass


def _format_plain(value: object, spec: str) -> str:
    """Format as the plain type: subclasses are converted by its own methods, and their code is not asked."""
    if value is None and not spec:
        return "None"
    if isinstance(value, str):
        return str.__str__(value).__format__(spec)
    if isinstance(value, bool):
        return value.__format__(spec)
    if isinstance(value, int):
        return int.__int__(value).__format__(spec)
    if isinstance(value, float):
        return float.__float__(value).__format__(spec)
    if isinstance(value, datetime):
        return _plain_datetime(value).__format__(spec)
    if isinstance(value, date):
        return date(value.year, value.month, value.day).__format__(spec)
    if isinstance(value, UUID):
        return UUID.__str__(value).__format__(spec)
    raise _NotPlain


def _plain_datetime(value: datetime) -> datetime:
    if type(value) is datetime:
        return value
    return datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.tzinfo,
        fold=value.fold,
    )


def _escaped(text: str) -> str:
    return _DOTS.join(_RESERVED.sub(_replacement, part) for part in text.split(".."))


def _replacement(match: re.Match[str]) -> str:
    return _REPLACEMENTS[match[0]]


def _without_climbing(pieces: list[str], from_value: list[bool], text: str) -> str:
    """Escape a `..` between slashes that came about where values and template meet (`{a}{b}`, both a dot)."""
    if ".." not in text:
        return text
    origins = [is_value for piece, is_value in zip(pieces, from_value, strict=True) for _ in piece]
    start = 0
    names = []
    for name in text.split("/"):
        names.append(_DOTS if name == ".." and any(origins[start : start + 2]) else name)
        start += len(name) + 1
    return "/".join(names)


def _check_length(template: str, text: str) -> None:
    if len(text) > OUTPUT_BYTES_MAX or len(text.encode(errors="surrogatepass")) > OUTPUT_BYTES_MAX:
        raise _too_long(template)


def _too_long(template: str) -> TemplateError:
    return TemplateError(template, f"it gives more than {OUTPUT_BYTES_MAX} bytes.")

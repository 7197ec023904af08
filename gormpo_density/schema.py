"""Typed, strict sections of a configuration, and schemas read off a class's own signatures.

A model needs no second description of its parameters: the annotations and defaults of its
`__init__` and `fit` are the schema, so a plug-in is checked as strictly as a built-in model.
"""

import difflib
import functools
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails, PydanticSerializationError

from gormpo_density.errors import ConfigError


class Section(BaseModel):
    """Base of every section: an unknown key is an error, and nothing is changed once read."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,  # a plug-in's signature may name any class
        protected_namespaces=(),
        ser_json_inf_nan="constants",
    )


S = TypeVar("S", bound=Section)


@functools.cache
def signature_model(
    cls: type, method: str, base: type[S], skip: frozenset[str] = frozenset()
) -> type[S]:
    """Return the section whose keys are the parameters of a method, with types and defaults.

    A method that takes `**options` also has the parameters of the one it overrides. The same
    arguments always give the same class, so that equal configurations compare equal.

    Args:
        cls: Class that has the method.
        method: For instance "__init__" or "fit".
        base: Section to extend.
        skip: Parameters that are not for a configuration; the first one (self) never is.

    Raises:
        ConfigError: An annotation or a parameter name cannot be used.
    """
    fields: dict[str, Any] = {}
    try:
        for function in _definitions(cls, method):
            hints = get_type_hints(function, include_extras=True)
            for parameter in list(inspect.signature(function).parameters.values())[1:]:
                if parameter.kind in _NAMED and parameter.name not in skip:
                    default = ... if parameter.default is parameter.empty else parameter.default
                    fields.setdefault(parameter.name, (hints.get(parameter.name, Any), default))
        return create_model(f"{cls.__name__}.{method}", __base__=base, **fields)
    except (NameError, TypeError, PydanticUserError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{cls.__module__}.{cls.__qualname__}.{method}: parameters cannot be read ({reason})"
        ) from error


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _definitions(cls: type, method: str) -> Iterator[Callable[..., Any]]:
    """Yield the method and, as long as it passes **options on, those it overrides."""
    for owner in cls.__mro__:
        function = vars(owner).get(method)
        if function is not None:
            yield function
            kinds = [p.kind for p in inspect.signature(function).parameters.values()]
            if inspect.Parameter.VAR_KEYWORD not in kinds:
                return


def validate(schema: type[S], values: Mapping[str, Any], place: Callable[[str], str]) -> S:
    """Check plain values against a schema, strictly: no text for a number, no boolean for 1.

    Args:
        schema: What is expected.
        values: Plain dicts, lists, text, numbers, booleans and None.
        place: Gives the source (a file, the command line) of a dotted path, for error texts.

    Returns:
        The section, every default filled in. Reading back its own dump gives an equal one.

    Raises:
        ConfigError: One line for every unknown, missing, mistyped or out-of-range value.
    """
    try:
        section = schema.model_validate_json(json.dumps(values), strict=True)
        # Once more with the defaults written out: they are checked, and (1, 2) becomes [1, 2].
        return schema.model_validate_json(section.model_dump_json(warnings=False), strict=True)
    except PydanticSerializationError as error:  # a default such as a function or a module
        raise ConfigError(
            f"{place('')}: a default cannot be written to a file ({error})"
        ) from None
    except ValidationError as error:
        problems = _by_path(error, schema, values)
        raise ConfigError([f"{place(path)}: {text}" for path, text in problems.items()]) from None


def _by_path(
    error: ValidationError, schema: type[Section], values: Mapping[str, Any]
) -> dict[str, str]:
    claims: dict[str, list[str]] = {}
    inputs: dict[str, str] = {}
    for detail in error.errors():
        path = _path(detail["loc"], values)
        claims.setdefault(".".join(path), []).append(_claim(detail, path, schema))
        if detail["type"] not in ("missing", "extra_forbidden", "value_error", "json_invalid"):
            inputs[".".join(path)] = f", is {_shown(detail['input'])}"
    return {
        path: f"{path} {' or '.join(texts)}{inputs.get(path, '')}".strip()
        for path, texts in claims.items()
    }


def _path(loc: Sequence[str | int], values: Any) -> list[str]:
    """Return the part of a location that is in the values, without pydantic's union branches."""
    path = []
    for part in loc:
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int):
            values = values[part]
        else:
            break
        path.append(str(part))
    return path


def _claim(detail: ErrorDetails, path: list[str], schema: type[Section]) -> str:
    match detail["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return f"is unknown{_suggestion(path, schema)}"
        case "value_error":
            return str(detail["ctx"]["error"])
    return re.sub(r"^\w+ should ", "must ", detail["msg"])


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _suggestion(path: list[str], schema: type[Section]) -> str:
    """Return what may have been meant: a near key of the section, or a key of another one."""
    *parents, leaf = path
    here = _keys(schema, parents)
    elsewhere = {
        key: f"{name}.{key}" for name in schema.model_fields for key in _keys(schema, [name])
    }
    words = (
        [leaf] if leaf in elsewhere else difflib.get_close_matches(leaf, [*here, *elsewhere], n=1)
    )
    for word in words:
        return f", did you mean {word if word in here else elsewhere[word]!r}?"
    return f"; choose from {', '.join(here)}" if here else ""


def _keys(schema: type[BaseModel], path: Sequence[str]) -> list[str]:
    section = section_at(schema, path)
    return [] if section is None else list(section.model_fields)


def section_at(schema: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    """Return the schema of the section at a path; None when there is no section."""
    for part in path:
        field = schema.model_fields.get(part)
        types = () if field is None else (field.annotation, *get_args(field.annotation))
        sections = [t for t in types if isinstance(t, type) and issubclass(t, BaseModel)]
        if not sections:
            return None
        schema = sections[0]
    return schema

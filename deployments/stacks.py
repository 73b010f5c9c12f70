"""What a stack may say: its steps, its parameters, and which values a parameter accepts."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

#: Shorter ones cannot be redacted without tearing ordinary words out of the log.
SECRET_MIN_LENGTH = 6
#: Every value becomes an environment variable, and the kernel limits those.
VALUE_MAX_LENGTH = 8_000
#: The runner's own; LD_* would let a value choose what code a step loads.
RESERVED_NAMES = frozenset({"PATH", "HOME", "LANG"})
RESERVED_PREFIX = "LD_"

ParameterType = Literal["string", "integer", "boolean", "choice", "secret"]
Value = str | int | bool
Argument = Annotated[str, StringConstraints(max_length=4_000, pattern=r"^[^\x00]*$")]


class InvalidValues(ValueError):
    """Some values are not what the stack's parameters accept. `errors`: parameter name -> what is wrong with it."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {error}" for name, error in errors.items()))
        self.errors = errors


class Step(BaseModel):
    """One program to run: an argument list, never a shell's text. Parameters reach it as environment variables only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f]+$")]
    command: Annotated[list[Argument], Field(min_length=1, max_length=100)]
    #: None: the platform's own limit, settings.STEP_TIME_LIMIT_SECONDS.
    time_limit_seconds: Annotated[int, Field(ge=1, le=24 * 3600)] | None = None


class Parameter(BaseModel):
    """Something a deployer chooses. `min` and `max` limit an integer's value, or a text's length in characters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
    type: ParameterType = "string"
    label: Annotated[str, StringConstraints(max_length=100)] = ""
    help: Annotated[str, StringConstraints(max_length=300)] = ""
    required: bool = False
    default: Value | None = None
    min: int | None = None
    max: int | None = None
    choices: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = []

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.name in RESERVED_NAMES or self.name.startswith(RESERVED_PREFIX):
            raise ValueError(f"{self.name} belongs to the runner; give the parameter another name.")
        if bool(self.choices) != (self.type == "choice"):
            raise ValueError(f"{self.name}: choices go with the type choice, and only with it.")
        if self.type == "secret" and self.default is not None:
            raise ValueError(f"{self.name}: a secret has no default, since everybody could read it here.")
        if self.default is not None:
            self.clean(self.default)
        return self

    @property
    def title(self) -> str:
        return self.label or self.name.replace("_", " ").capitalize()

    def clean(self, value: Any) -> Value:
        """The value in this parameter's own type; accepts what a form or a JSON body carries.

        Raises ValueError saying what is wrong, without repeating the value: it may be a secret.
        """
        return _CLEANERS[self.type](self, value)


def _text(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("Give a text.")
    if "\x00" in value or not _encodes(value):
        raise ValueError("It holds a character that no environment variable can carry.")
    low = max(parameter.min or 0, SECRET_MIN_LENGTH if parameter.type == "secret" else 0)
    high = min(parameter.max or VALUE_MAX_LENGTH, VALUE_MAX_LENGTH)
    if len(value) < low:
        raise ValueError(f"Use at least {low} characters.")
    if len(value) > high:
        raise ValueError(f"Use at most {high} characters.")
    return value


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(parameter: Parameter, value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", str(value)):
        raise ValueError("Give a whole number.")
    number = int(value)
    if parameter.min is not None and number < parameter.min:
        raise ValueError(f"Use {parameter.min} or more.")
    if parameter.max is not None and number > parameter.max:
        raise ValueError(f"Use {parameter.max} or less.")
    return number


_BOOLEANS = {"true": True, "on": True, "1": True, "yes": True, "false": False, "off": False, "0": False, "no": False}


def _boolean(_: Parameter, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _BOOLEANS[str(value).strip().lower()]
    except KeyError:
        raise ValueError("Give true or false.") from None


def _choice(parameter: Parameter, value: Any) -> str:
    if value not in parameter.choices:
        raise ValueError(f"Choose one of: {', '.join(parameter.choices)}.")
    return str(value)


_CLEANERS: dict[str, Callable[[Parameter, Any], Value]] = {
    "string": _text,
    "secret": _text,
    "integer": _integer,
    "boolean": _boolean,
    "choice": _choice,
}

_STEPS = TypeAdapter(Annotated[list[Step], Field(min_length=1, max_length=50)])
_PARAMETERS = TypeAdapter(Annotated[list[Parameter], Field(max_length=50)])


def parse_steps(raw: Any) -> list[Step]:
    """Raises ValueError with one line for each thing that is wrong."""
    steps = _parse(_STEPS, raw)
    _refuse_doubles("step", [step.name for step in steps])
    return steps


def parse_parameters(raw: Any) -> list[Parameter]:
    """Raises ValueError with one line for each thing that is wrong."""
    parameters = _parse(_PARAMETERS, raw)
    _refuse_doubles("parameter", [parameter.name for parameter in parameters])
    return parameters


def _parse(adapter: TypeAdapter[Any], raw: Any) -> Any:
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc'])) or 'all'}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(lines)) from None


def _refuse_doubles(kind: str, names: list[str]) -> None:
    doubles = {name for name in names if names.count(name) > 1}
    if doubles:
        raise ValueError(f"Two {kind}s have the same name: {', '.join(sorted(doubles))}.")


def clean_values(parameters: list[Parameter], given: dict[str, Any]) -> dict[str, Value]:
    """The value of every parameter that has one: what was given, else its default. An empty text counts as not given.

    Raises InvalidValues naming each wrong, missing or unknown parameter.
    """
    errors: dict[str, str] = {}
    values: dict[str, Value] = {}
    for name in given.keys() - {parameter.name for parameter in parameters}:
        errors[name] = "The stack has no such parameter."
    for parameter in parameters:
        value = given.get(parameter.name)
        if value is None or value == "":
            value = parameter.default
        if value is None:
            if parameter.required:
                errors[parameter.name] = "This is required."
            continue
        try:
            values[parameter.name] = parameter.clean(value)
        except ValueError as error:
            errors[parameter.name] = str(error)
    if errors:
        raise InvalidValues(errors)
    return values


def as_environment(values: dict[str, Value]) -> dict[str, str]:
    """Values as environment variables: booleans as true and false, numbers in decimal."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in sorted(values.items())
    }

"""The Deploy form: a field for each of a stack's parameters. The stack's own rules decide what is valid."""

from typing import Any

from django import forms
from django.utils.html import escape

from deployments.models import Stack
from deployments.stacks import Parameter

PREFIX = "p_"


class DeployForm(forms.Form):
    """Carries what was typed as it was typed; `deployments.actions` checks it, and its errors are put at the fields."""

    name = forms.CharField(required=False, max_length=50, label="Name", help_text="Shown as the deployment's title.")

    def __init__(self, stack: Stack, data: Any = None) -> None:
        super().__init__(data, initial={"name": stack.slug})
        self.parameters = stack.parameter_list
        for parameter in self.parameters:
            self.fields[PREFIX + parameter.name] = _field(parameter)

    def values(self) -> dict[str, Any]:
        """What was given, by parameter."""
        return {parameter.name: self._value(parameter) for parameter in self.parameters}

    def _value(self, parameter: Parameter) -> Any:
        return self.cleaned_data.get(PREFIX + parameter.name)

    def add_errors(self, errors: dict[str, str]) -> None:
        """Errors of `InvalidRequest`, each at the field it speaks of."""
        for field, error in errors.items():
            name = PREFIX + field.removeprefix("parameters.") if field.startswith("parameters.") else field
            self.add_error(name if name in self.fields else None, error)


def _field(parameter: Parameter) -> forms.Field:
    shared: dict[str, Any] = {"label": parameter.title, "help_text": escape(parameter.help), "required": False}
    field: forms.Field
    if parameter.type == "boolean":
        field = forms.BooleanField(**shared, initial=bool(parameter.default))
    elif parameter.type == "choice":
        empty = [] if parameter.required or parameter.default else [("", "—")]
        choices = [*empty, *((choice, choice) for choice in parameter.choices)]
        field = forms.ChoiceField(**shared, choices=choices, initial=parameter.default)
    elif parameter.type == "secret":
        field = forms.CharField(**shared, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "off"}))
    elif parameter.type == "integer":
        limits = {"min": parameter.min, "max": parameter.max}
        attributes = {name: limit for name, limit in limits.items() if limit is not None}
        widget = forms.TextInput(attrs={"inputmode": "numeric", **attributes})
        field = forms.CharField(**shared, initial=parameter.default, widget=widget)
    else:
        field = forms.CharField(**shared, initial=parameter.default, strip=False)
    if parameter.required and parameter.default is None and parameter.type != "boolean":
        # For the browser and the label; what is missing is said once, together with everything else that is wrong.
        field.widget.attrs["required"] = True
    return field

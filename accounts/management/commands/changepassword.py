from getpass import getpass
from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from accounts.actions import change_password
from accounts.models import User


class Command(changepassword.Command):
    """Django's command, through our action: a new password ends what the old one opened."""

    help = "Change a person's password, and end their sessions and connections."

    def handle(self, *args: Any, **options: Any) -> str:
        try:
            person = User.objects.get_by_natural_key(options["username"])
        except User.DoesNotExist:
            raise CommandError(f"Nobody has the address {options['username']!r}.") from None
        password = getpass("Password: ")
        if getpass("Password (again): ") != password:
            raise CommandError("The two differ. Nothing was changed.")
        try:
            validate_password(password, person)
        except ValidationError as problem:
            raise CommandError(" ".join(problem.messages)) from None
        change_password(person, password, by=None)
        return f"{person.email} has a new password."

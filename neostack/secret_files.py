"""Settings whose value stands in a file, because an environment is seen by more people and programs than a file is."""

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping


class SecretFiles(FileAwareMapping):
    """The environment, where NAME_FILE may name the file that holds NAME. It wins over NAME, and is read once."""

    def __getitem__(self, name: str) -> str:
        """Without the newline that editors and `echo` put at the end.

        Raises ImproperlyConfigured for a file that cannot be read: going on without it could mean a default.
        """
        try:
            return str(super().__getitem__(name)).strip()
        except OSError as problem:
            path = Path(self.env[f"{name}_FILE"])
            raise ImproperlyConfigured(f"{name}_FILE names {path}, which cannot be read: {problem.strerror}.") from None


class FileAwareEnv(environ.Env):
    ENVIRON = SecretFiles()

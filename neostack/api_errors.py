from django.core.exceptions import RequestDataTooBig
from drf_standardized_errors.handler import ExceptionHandler

from tenants.api import TooLarge


class ErrorHandler(ExceptionHandler):
    """Django refuses a large body by itself where something read it before the parser: that is no server error."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        return TooLarge() if isinstance(exc, RequestDataTooBig) else super().convert_known_exceptions(exc)

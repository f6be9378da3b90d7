"""Feature flags by OpenFeature, from a file in flagd's format that is read anew for each evaluation: a change holds at
once. In production flagd's own provider stands here.
"""

import json
import pathlib

from openfeature import api
from openfeature.contrib.hook.opentelemetry import TracingHook
from openfeature.exception import FlagNotFoundError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata


class FlagFile(AbstractProvider):
    """A provider for flags without targeting: each has its default variant."""

    def __init__(self, path: str):
        super().__init__()
        self.path = pathlib.Path(path)

    def get_metadata(self) -> Metadata:
        return Metadata(name="flagd")

    def resolve(self, key: str, kind: type) -> FlagResolutionDetails:
        flag = json.loads(self.path.read_text())["flags"].get(key)
        if flag is None:
            raise FlagNotFoundError(f"no flag {key} in {self.path}")
        variant = flag["defaultVariant"]
        value = flag["variants"][variant]
        if not isinstance(value, kind):
            raise TypeMismatchError(f"{key} is a {type(value).__name__}")
        return FlagResolutionDetails(value=value, variant=variant, reason=Reason.STATIC)

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        return self.resolve(flag_key, bool)

    def resolve_string_details(self, flag_key, default_value, evaluation_context=None):
        return self.resolve(flag_key, str)

    def resolve_integer_details(self, flag_key, default_value, evaluation_context=None):
        return self.resolve(flag_key, int)

    def resolve_float_details(self, flag_key, default_value, evaluation_context=None):
        return self.resolve(flag_key, float)

    def resolve_object_details(self, flag_key, default_value, evaluation_context=None):
        return self.resolve(flag_key, object)


def client(path: str):
    """A client whose evaluations are span events `feature_flag.evaluation`."""
    api.set_provider(FlagFile(path))
    api.add_hooks([TracingHook()])
    return api.get_client()

"""template.yaml as deployment would read it: no network, no emulator."""

import pytest

from local.template import read_template, translate, uri_in_s3
from tests.stack.translated import Deployed


@pytest.fixture(scope="session")
def deployed() -> Deployed:
    """Give the translated template."""
    return Deployed(translate(uri_in_s3(read_template())))

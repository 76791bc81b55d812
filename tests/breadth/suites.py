"""All suites, in the order of the documentation."""

from __future__ import annotations

from tests.breadth.dpsql import DPSQL
from tests.breadth.pyqrlew import PYQRLEW
from tests.breadth.smartnoise import SMARTNOISE
from tests.breadth.zetasql import ZETASQL

SUITES = (ZETASQL, SMARTNOISE, DPSQL, PYQRLEW)

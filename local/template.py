"""local: template.yaml as CloudFormation, the way that deployment would read it."""

from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from local.emulator import REGION, ROOT

TEMPLATE = ROOT / "template.yaml"
FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"

Template = dict[str, Any]


def read_template(path: Path = TEMPLATE) -> Template:
    """Return template.yaml as written, with short intrinsics (`!Ref`) in their long form."""
    template: Template = yaml_parse(path.read_text(encoding="utf-8"))
    return template


def translate(template: Template, *, parameters: dict[str, str] | None = None) -> Template:
    """Turn a SAM template into the CloudFormation template that would be deployed.

    Args:
        template: as read; code and layers must lie in S3 (`uri_in_s3` puts placeholders there).
        parameters: values of template parameters; left out, their defaults.

    Raises:
        InvalidDocumentException: SAM does not accept the template.
    """
    defaults = {
        name: str(parameter["Default"])
        for name, parameter in template.get("Parameters", {}).items()
        if "Default" in parameter
    }
    # A session of its own: nothing of the machine's configuration decides what is translated.
    session = boto3.Session(region_name=REGION, botocore_session=None)
    translator = Translator(managed_policy_map={}, sam_parser=Parser(), boto_session=session)
    translated: Template = translator.translate(template, parameter_values={**defaults, **(parameters or {})})
    return translated


def uri_in_s3(template: Template, *, bucket: str = "code") -> Template:
    """Replace the local folders of functions and layers by where deployment would have put them."""
    for name, resource in template["Resources"].items():
        if resource["Type"] == FUNCTION:
            resource["Properties"]["CodeUri"] = f"s3://{bucket}/{name}.zip"
        elif resource["Type"] == LAYER:
            resource["Properties"]["ContentUri"] = f"s3://{bucket}/{name}.zip"
    return template

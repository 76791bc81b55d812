"""What stack tests share: ways to ask the translated template."""

import json
from collections.abc import Iterator
from typing import Any

from local.template import Template

Statement = dict[str, Any]


class Deployed:
    """The translated template."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.resources: dict[str, dict[str, Any]] = template["Resources"]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of one type, by logical name; there is at least one."""
        found = {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }
        assert found, kind
        return found

    def policy_documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give every policy document in the template with the name of what carries it."""
        for name, properties in self.of_type("AWS::IAM::Policy").items():
            yield name, properties["PolicyDocument"]
        for name, properties in self.of_type("AWS::KMS::Key").items():
            yield name, properties["KeyPolicy"]
        for kind in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"):
            for name, properties in self.of_type(kind).items():
                yield name, properties["PolicyDocument"]

    def allowed(self, role: str) -> list[tuple[str, str, Statement]]:
        """Return what `role` may do: action, resource as text, and the statement, over all of its policies."""
        granted = []
        for properties in self.of_type("AWS::IAM::Policy").values():
            if {"Ref": role} in properties["Roles"]:
                for said in properties["PolicyDocument"]["Statement"]:
                    assert said["Effect"] == "Allow"
                    for action in as_list(said["Action"]):
                        granted += [(action, json.dumps(resource), said) for resource in as_list(said["Resource"])]
        assert granted, role
        return granted


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

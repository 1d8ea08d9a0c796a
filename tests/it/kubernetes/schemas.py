"""Checks objects against the schemas of Kubernetes and of CRDs, and refuses fields that these do not name.

Arguments: files of CRDs. Standard input: a JSON list of objects. Prints a JSON list of faults, each as a text.
"""

import json
import sys

import jsonschema
import kubernetes_validate
import yaml

# The oldest version that the chart supports, and the newest that the package has.
VERSIONS = ["1.29", "1.37"]


def strict(schema):
    """Turns a schema of a CRD into JSON Schema, in place."""
    if isinstance(schema, list):
        for each in schema:
            strict(each)
    elif isinstance(schema, dict):
        for each in schema.values():
            strict(each)
        if schema.get("x-kubernetes-int-or-string") is True:
            schema["type"] = ["integer", "string"]
        if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    return schema


def schemas(files):
    found = {}
    for file in files:
        with open(file) as text:
            crd = yaml.safe_load(text)["spec"]
        for version in crd["versions"]:
            name = f"{crd['group']}/{version['name']}", crd["names"]["kind"]
            found[name] = strict(version["schema"]["openAPIV3Schema"])
    return found


def faults(thing, crds):
    name = thing["apiVersion"], thing["kind"]
    if name in crds:
        errors = jsonschema.Draft202012Validator(crds[name]).iter_errors(thing)
        return [f"{error.json_path}: {error.message}" for error in errors]
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            found.append(f"{version}: {error.message}")
    return found


crds = schemas(sys.argv[1:])
things = json.load(sys.stdin)
json.dump([f"{thing['kind']} {thing['metadata']['name']}: {fault}" for thing in things for fault in faults(thing, crds)], sys.stdout)

"""Renders every overlay here and checks each manifest against its schema; unknown fields are errors.

The schemas of Kubernetes itself come with `kubernetes-validate`, those of the custom resources from `schemas.yaml` or,
with `--crd FILE …`, from the operators' own definitions.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

HERE = Path(__file__).parent
OLDEST, NEWEST = "1.33", "1.37"  # Kubernetes versions


def main() -> None:
    """Prints every mistake and exits with 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crd", nargs="+", type=Path, default=[], help="custom resource definitions to check against")
    found = check(HERE, definitions=parser.parse_args().crd)
    for mistake in found:
        print(mistake, file=sys.stderr)
    print(f"The Kubernetes manifests have {len(found) or 'no'} mistakes.")
    sys.exit(1 if found else 0)


def check(folder: Path, *, definitions: list[Path]) -> list[str]:
    """Every mistake in the overlays of a folder; what they share is looked at once."""
    custom = dict(_schemas(definitions) if definitions else _written_by_hand(folder / "schemas.yaml"))
    found, seen = [], []
    for overlay in sorted((folder / "overlays").iterdir()):
        try:
            manifests = rendered(overlay)
        except subprocess.CalledProcessError as error:
            found.append(f"{overlay.name}: {error.stderr.strip()}")
            continue
        for manifest in manifests:
            if manifest not in seen:
                seen.append(manifest)
                where = f"{overlay.name}: {manifest.get('kind')} {manifest.get('metadata', {}).get('name')}"
                found += [f"{where}: {mistake}" for mistake in mistakes(manifest, custom)]
    return found


def rendered(folder: Path) -> list[dict[str, Any]]:
    """All manifests of a kustomization, as `kubectl apply -k` would send them. Raises `CalledProcessError`."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True)
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def mistakes(manifest: dict[str, Any], custom: dict[str, Any]) -> Iterator[str]:
    """What the schema does not allow; a kind without a schema is a mistake too."""
    schema = custom.get(f"{manifest.get('apiVersion')} {manifest.get('kind')}")
    if schema is not None:
        for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest):
            yield f"{error.json_path}: {error.message}"
        return
    for version in (OLDEST, NEWEST):
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {error.json_path}: {error.message}"
        except (KeyError, kubernetes_validate.SchemaNotFoundError) as error:
            yield f"Kubernetes {version} has no such kind, and schemas.yaml neither ({type(error).__name__})"


def _written_by_hand(path: Path) -> Iterator[tuple[str, Any]]:
    schemas = yaml.safe_load(path.read_text(encoding="utf-8"))
    return ((name, schema) for name, schema in schemas.items() if name != "definitions")


def _schemas(definitions: list[Path]) -> Iterator[tuple[str, Any]]:
    for path in definitions:
        for definition in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            group, kind = definition["spec"]["group"], definition["spec"]["names"]["kind"]
            for version in definition["spec"]["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}  # known to Kubernetes, left out of definitions
                yield f"{group}/{version['name']} {kind}", schema


def _strict(schema: Any) -> Any:
    """The same schema with unknown fields refused, which Kubernetes would drop."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
    return strict


if __name__ == "__main__":
    main()

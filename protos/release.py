"""Writes the image of the contract as it is released: from then on nothing of it may break. The version is pyproject.toml's."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import promised
from promised import PROTOS


def refusal(protos: Path) -> str | None:
    """Why a contract cannot be released, None when it can."""
    version, images = promised.next_version(protos), promised.images(protos)
    name = ".".join(map(str, version))
    if version in images:
        return f"v{name} is released already: raise the version in pyproject.toml first"
    if not images:
        return None
    *_, (last, image) = images.items()
    if version < last:
        return f"v{name} is older than the last release, {image.stem}"
    found = promised.broken(protos, image)
    if found and version[0] == last[0]:
        return "\n".join(
            [*found, f"clients of {image.stem} would break: mend that, or raise the major version in pyproject.toml if you mean it"]
        )
    return None


def main() -> int:
    """Write the image, or say why not."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, nargs="?", default=PROTOS, help="of the contract; pyproject.toml lies beside it")
    protos: Path = arguments.parse_args().folder
    (protos / "released").mkdir(exist_ok=True)
    if (why := refusal(protos)) is not None:
        print(why, file=sys.stderr)
        return 1
    image = protos / "released" / f"v{'.'.join(map(str, promised.next_version(protos)))}.binpb"
    promised.build(protos, image)
    print(f"wrote {image}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

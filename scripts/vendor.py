"""Copy the front-end libraries into static/vendor from their npm packages: `python scripts/vendor.py`.

Needs npm (only here: neither `make run` nor the tests do). Writes VENDORED.json beside the files, with the version,
licence and SHA-256 of each; a test compares them, so that a vendored file is never edited by hand.
"""

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

VENDOR_DIR = Path(__file__).resolve().parent.parent / "static" / "vendor"
MANIFEST = VENDOR_DIR / "VENDORED.json"

#: package -> (version, {file in the package: file in static/vendor})
PACKAGES = {
    "bootstrap": ("5.3.9", {"dist/css/bootstrap.min.css": "bootstrap.min.css"}),
    "centrifuge": ("5.8.0", {"dist/centrifuge.js": "centrifuge.js"}),
    "idiomorph": ("0.8.0", {"dist/idiomorph.esm.js": "idiomorph.esm.js"}),
    # Its few rules of style stand in home.css, with our colours: one request less.
    "uplot": ("1.6.32", {"dist/uPlot.iife.min.js": "uplot.js"}),
}


def fetch(package: str, version: str, directory: Path) -> tarfile.TarFile:
    """The package's own archive, from npm's registry."""
    packed = subprocess.run(
        ["npm", "pack", "--silent", f"{package}@{version}"], cwd=directory, check=True, capture_output=True, text=True
    )
    return tarfile.open(directory / packed.stdout.strip().splitlines()[-1])


def read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(f"package/{name}")
    if member is None:
        raise FileNotFoundError(f"{name} is not in {archive.name!s}")
    return member.read()


def without_source_map(content: bytes) -> bytes:
    """The file without the line that names its source map, which we don't ship: developer tools would ask for it."""
    lines = content.rstrip(b"\n").split(b"\n")
    return b"\n".join(line for line in lines if b"sourceMappingURL=" not in line) + b"\n"


def vendor(package: str, version: str, files: dict[str, str], directory: Path) -> dict[str, object]:
    with fetch(package, version, directory) as archive:
        licence = json.loads(read(archive, "package.json"))["license"]
        licence_file = next(
            name.removeprefix("package/")
            for name in archive.getnames()
            if name.removeprefix("package/").upper() in {"LICENSE", "LICENSE.MD", "LICENSE.TXT"}
        )
        contents = {ours: without_source_map(read(archive, theirs)) for theirs, ours in files.items()}
        contents[f"{package}.LICENSE.txt"] = read(archive, licence_file)
    for name, content in contents.items():
        (VENDOR_DIR / name).write_bytes(content)
    return {
        "version": version,
        "licence": licence,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }


def main() -> None:
    VENDOR_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        manifest = {
            package: vendor(package, version, files, Path(directory)) for package, (version, files) in PACKAGES.items()
        }
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")
    for package, facts in manifest.items():
        print(f"{package} {facts['version']} ({facts['licence']})")


if __name__ == "__main__":
    main()

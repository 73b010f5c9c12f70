import hashlib
import json
from pathlib import Path

VENDOR_DIR = Path(__file__).resolve().parents[2] / "static" / "vendor"
MANIFEST = json.loads((VENDOR_DIR / "VENDORED.json").read_text())


def test_every_vendored_file_is_the_one_its_package_ships():
    expected = {name: digest for package in MANIFEST.values() for name, digest in package["files"].items()}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR_DIR.iterdir()
        if path.name != "VENDORED.json"
    }
    assert found == expected


def test_every_vendored_library_names_its_version_and_licence():
    assert {name: (facts["version"], facts["licence"]) for name, facts in MANIFEST.items()} == {
        "bootstrap": ("5.3.9", "MIT"),
        "centrifuge": ("5.8.0", "MIT"),
        "idiomorph": ("0.8.0", "0BSD"),
        "uplot": ("1.6.32", "MIT"),
    }

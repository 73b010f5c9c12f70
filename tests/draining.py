"""What a node of Centrifugo does on Kubernetes before it is told to end, read from its file, and done here."""

import os
import subprocess
from pathlib import Path

import yaml

DEPLOYMENT = Path(__file__).resolve().parent.parent / "deploy/kubernetes/centrifugo.yaml"
GATE = "http://gate:8002"
GATE_KEY_FILE = "/run/secrets/neostack/gate_key"


def drain_hook() -> str:
    """The shell script of the preStop hook."""
    deployment = next(yaml.safe_load_all(DEPLOYMENT.read_text()))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    shell, option, script = container["lifecycle"]["preStop"]["exec"]["command"]
    assert (shell, option) == ("sh", "-c")
    return str(script)


def begin_to_drain(node: str, *, gate: str, key_file: Path, seconds: int) -> "subprocess.Popen[str]":
    """The hook as it stands, but with this gate and key, no wait before it, and so many seconds to drain in."""
    script = drain_hook()
    here = {"sleep 15\n": "", "+ 45)": f"+ {seconds})", GATE: gate, GATE_KEY_FILE: str(key_file)}
    for there, instead in here.items():
        assert script.count(there) == 1, there
        script = script.replace(there, instead)
    environ = {"PATH": os.environ["PATH"], "CENTRIFUGO_NODE_NAME": node}
    return subprocess.Popen(["sh", "-c", script], env=environ, stderr=subprocess.PIPE, text=True)

"""What is shipped: the wheel and the image have no servers of one machine in them."""

import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def test_the_wheel_has_every_room_but_the_local_one(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    wanted = {
        file.relative_to(PROJECT).as_posix()
        for package in ("api", "db", "provisioner")
        for file in (PROJECT / package).rglob("*.py")
        if not file.is_relative_to(PROJECT / "db" / "local")
    }
    assert shipped == wanted


def test_the_image_is_built_without_the_local_room() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    assert lines.index("!db") < lines.index("db/local")

"""NAME_FILE stands for NAME."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from neostack.secret_files import FileAwareEnv, SecretFiles


@pytest.fixture
def env():
    class Env(FileAwareEnv):
        ENVIRON = SecretFiles({})

    return Env()


def test_a_secret_is_read_from_its_file_without_the_newline_at_its_end(env, tmp_path):
    (tmp_path / "key").write_text("s3cret-value\n")
    env.ENVIRON["GATE_KEY_FILE"] = str(tmp_path / "key")
    assert env.str("GATE_KEY") == "s3cret-value"


def test_a_file_wins_over_the_variable_itself(env, tmp_path):
    (tmp_path / "key").write_text("from the file")
    env.ENVIRON.update({"GATE_KEY": "from the environment", "GATE_KEY_FILE": str(tmp_path / "key")})
    assert env.str("GATE_KEY") == "from the file"


def test_an_address_may_stand_in_a_file(env, tmp_path):
    (tmp_path / "url").write_text("postgres://neostack:pass@postgres/neostack\n")
    env.ENVIRON["DATABASE_URL_FILE"] = str(tmp_path / "url")
    assert env.db("DATABASE_URL")["NAME"] == "neostack"


def test_a_file_that_is_not_there_is_an_error_and_never_a_default(env, tmp_path):
    env.ENVIRON["GATE_KEY_FILE"] = str(tmp_path / "none")
    with pytest.raises(ImproperlyConfigured, match=r"GATE_KEY_FILE names .*/none, which cannot be read"):
        env.str("GATE_KEY", default="a default")

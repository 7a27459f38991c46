import os

import pytest
import system_packages
from system_packages import NEEDS, SystemPackage

INNER = """
    import pytest

    @pytest.mark.radio
    def test_link(): pass

    @pytest.mark.radio
    @pytest.mark.parametrize("n", range(3))
    def test_links(n): pass

    @pytest.mark.dome
    def test_dome(): pass

    @pytest.mark.radio
    @pytest.mark.long
    def test_deselected(): pass

    @pytest.mark.radio
    @pytest.mark.skip(reason="in the dark")
    def test_skipped_anyway(): pass

    @pytest.mark.shell
    def test_shell(): pass

    def test_plain(): pass
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """A run of pytest, in a process of its own, on tests that need programs nobody has."""
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(system_packages.__file__))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # most of the time is theirs
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini("[pytest]\nmarkers =\n  radio\n  dome\n  shell\n  long\naddopts = --strict-markers")
    pytester.makeconftest(
        """
        import system_packages
        from system_packages import SystemPackage
        pytest_plugins = ["system_packages"]
        system_packages.NEEDS |= {
            "radio": SystemPackage("no-such-radio", "radio-utils"),
            "dome": SystemPackage("no-such-dome", "dome"),
            "shell": SystemPackage("sh", "dash"),
        }
        """
    )
    pytester.makepyfile(INNER)

    def run(*args, require=None):
        if require is None:
            monkeypatch.delenv("OBSLAB_REQUIRE_ALL", raising=False)
        else:
            monkeypatch.setenv("OBSLAB_REQUIRE_ALL", require)
        return pytester.runpytest_subprocess("-m", "not long", *args)

    return run


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n", "2"]], ids=["one process", "two workers"])
@pytest.mark.parametrize("require", [None, "0"])
def test_missing_programs_skip_and_are_listed_once(run, workers, require):
    result = run(*workers, require=require)
    result.assert_outcomes(passed=2, skipped=6, deselected=0 if workers else 1)
    listed = [line for line in result.outlines if line.startswith("skipped for want")]
    assert listed == [
        "skipped for want of a system package: 1 test needs no-such-dome: apt-get install dome",
        "skipped for want of a system package: 4 tests need no-such-radio: apt-get install radio-utils",
    ]


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n", "2"]], ids=["one process", "two workers"])
def test_required_programs_fail_with_the_same_line(run, workers):
    result = run(*workers, require="1")
    result.assert_outcomes(passed=2, errors=5, skipped=1, deselected=0 if workers else 1)
    result.stdout.fnmatch_lines(["*needs no-such-radio: apt-get install radio-utils (OBSLAB_REQUIRE_ALL=1*"])
    assert result.ret == 1
    assert "Traceback" not in result.stdout.str()


def test_nothing_is_listed_when_nothing_is_missing(run):
    result = run("-k", "plain or shell")
    result.assert_outcomes(passed=2, deselected=7)
    assert "for want of" not in result.stdout.str()


def test_a_doubtful_wish_is_refused(run):
    result = run(require="yes")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*OBSLAB_REQUIRE_ALL is 'yes'; wanted 1, or nothing*"])


def test_servers_are_found_where_an_ordinary_path_does_not_look(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert SystemPackage("ldconfig", "libc-bin").find().endswith("sbin/ldconfig")
    assert NEEDS["mosquitto"].package == "mosquitto"

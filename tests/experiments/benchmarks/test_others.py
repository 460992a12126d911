"""Other people's functions run beside ours, or a phrase says why they do not."""

from experiments.benchmarks.others import Other, file_of_package, tried


def test_what_is_not_installed_or_does_not_run_is_a_phrase(capsys) -> None:
    def greets():
        print("welcome")
        return lambda: runs.append(1)

    def fails():
        raise TypeError("another version")

    runs: list[int] = []
    found, missing = tried(
        {"good": Other("json", greets), "absent": Other("no_such_package", fails), "broken": Other("json", fails)}
    )
    assert list(found) == ["good"]
    assert runs == [1]  # tried once
    assert missing == ["absent not installed", "broken does not run here (TypeError)"]
    assert capsys.readouterr().out == ""  # it is for JSON


def test_a_file_of_a_package_comes_by_itself() -> None:
    scanner = file_of_package("json", "scanner.py")
    assert scanner.NUMBER_RE.match("12")
    assert scanner.__name__ == "json_scanner"

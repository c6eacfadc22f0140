"""Lines for people go to standard error, whole."""

from model.progress.lines import tell


def test_a_line_is_written_to_standard_error(capsys):
    tell("one\ntwo")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "one\ntwo\n")

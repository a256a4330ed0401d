import pytest

from gen2reco.errors import StudyError
from gen2reco.rows.syntax import parse


@pytest.mark.parametrize(
    "text",
    [
        "1 + 2*mu.pt - -x / 3 % 2 ** 2",
        "20 < mu.pt <= 50 and not (a or b)",
        "abs(pdgId) in (11, -13)",
        "leading(where(Jet, pt > 30), eta < 0).pt",
        "True",
    ],
)
def test_reads_the_language(text):
    assert parse(text).text == text


def test_line_breaks_are_blanks():
    assert parse(" a +\n   b ").text == "a + b"


def test_the_same_text_is_parsed_once():
    assert parse("mu.pt > 3") is parse("mu.pt > 3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("mu.pt >", "cannot be read"),
        ("(mu.pt", "cannot be read"),
        ("a && b", "write `and` for `&&`"),
        ("a || b", "write `or` for `||`"),
        ("!a", "write `not` for `!`"),
        ("(a > 1) & (b > 1)", "write `and`"),
        ("~a", "write `not`"),
        ("__import__('os').system('true')", "only plain functions"),
        ("(lambda: 1)()", "only plain functions"),
        ("[x for x in y]", "ListComp is not part"),
        ("x[0]", "Subscript is not part"),
        ("a if b else c", "IfExp is not part"),
        ("(x := 1)", "NamedExpr is not part"),
        ("f'{x}'", "JoinedStr is not part"),
        ("'text'", "'text' is not a number"),
        ("None", "None is not a number"),
        ("1j", "is not a number"),
        ("leading(Jet, cut=pt > 3)", "arguments have no names"),
        ("leading(*Jet)", "Starred is not part"),
        ("mu.pt()", "only plain functions"),
        ("a is b", "Compare is not part"),
        ("a in b", "list of numbers in parentheses"),
        ("a in (b, 1)", "may hold numbers only"),
        ("a; b", "cannot be read"),
        ("a = 1", "cannot be read"),
        ("import os", "cannot be read"),
        ("a\0b", "cannot"),
        ("(" * 3000 + "a" + ")" * 3000, "cannot"),
        ("-" * 20000 + "a", "cannot"),
    ],
)
def test_refuses_everything_else(text, message):
    with pytest.raises(StudyError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_the_place_is_marked():
    with pytest.raises(StudyError) as caught:
        parse("mu.pt + jet.pt[0] > 3")
    message, text, mark = str(caught.value).split("\n")
    assert message.startswith("Subscript")
    assert text[mark.index("^") :].startswith("jet.pt[0]")


def test_the_place_is_right_after_other_alphabets():
    with pytest.raises(StudyError) as caught:
        parse("π + x[0]")
    _, text, mark = str(caught.value).split("\n")
    assert text[mark.index("^")] == "x"

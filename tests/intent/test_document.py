from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.errors import ManifestError, Problem
from kserve_ext.intent.document import MAX_NODES, read_documents

# Values that a Kubernetes manifest may hold; text that YAML keeps as text is left to the dumper's quoting.
scalars = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
trees = st.recursive(scalars | words, lambda inner: st.lists(inner) | st.dictionaries(words, inner), max_leaves=15)


def faults(text: str) -> tuple[Problem, ...]:
    try:
        read_documents(text, "f.yaml")
    except ManifestError as error:
        return error.problems
    return ()


@given(trees)
def test_plain_values_are_what_pyyaml_reads(tree: object) -> None:
    text = yaml.safe_dump(tree, allow_unicode=True)
    expected = yaml.safe_load(text)
    documents = read_documents(text, "f.yaml")
    assert [document.plain() for document in documents] == ([] if expected is None else [expected])


@given(st.text(max_size=200))
def test_arbitrary_text_is_read_or_refused_with_the_file_named(text: str) -> None:
    assert {problem.file for problem in faults(text)} <= {"f.yaml"}


@given(st.text(alphabet="a:-[]{}&*!<>|'\"?,#%@\n 1.~", max_size=60))
def test_text_dense_in_yaml_signs_is_read_or_refused(text: str) -> None:
    assert {problem.file for problem in faults(text)} <= {"f.yaml"}


def test_nodes_know_their_line_and_path() -> None:
    (document,) = read_documents("\na:\n  - b: 1\n    c.d/e: 2\n", "f.yaml")
    items = document.get("a").value
    assert isinstance(items, tuple)
    found = items[0].get("c.d/e")
    assert (found.value, found.line, found.path) == (2, 4, "a[0][c.d/e]")


def test_an_absent_field_stands_at_the_line_of_what_should_hold_it() -> None:
    (document,) = read_documents("a: 1\nb:\n  c: 2\n", "f.yaml")
    absent = document.get("b", "d", "e")
    assert (absent.value, absent.line, absent.path) == (None, 2, "b.d.e")


def test_merge_keys_fill_in_what_is_not_written() -> None:
    (document,) = read_documents("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n", "f.yaml")
    assert document.get("use").plain() == {"x": 1, "y": 3}


def test_a_date_stays_text_as_in_kubernetes() -> None:
    (document,) = read_documents("day: 2001-99-99\n", "f.yaml")
    assert document.plain() == {"day": "2001-99-99"}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a key that stands twice"),
        ("a: b: c\n", 1, "not YAML: mapping values are not allowed here (column 5)"),
        ("a: {b: 1\nc: 2\n", 2, "not YAML"),
        ("a: 'b\n", 2, "not YAML"),
        ("a: 1\nb: \x07\n", 2, "special characters are not allowed"),
        ("a: *b\n", 1, "undefined alias"),
        ("a: &x\n  b: *x\n", 2, "an anchor that contains itself"),
        ("a: 1\n? [b]\n: 2\n", 2, "a key that is not text"),
        ("a: !thing 1\n", 1, "a YAML tag that Kubernetes does not read"),
        ("a: !!int one\n", 1, "not a value of type int"),
        ("a: !!bool ''\n", 1, "not a value of type bool"),
        ("a: .inf\n", 1, "not a value of type float"),
        ("a: 99999999999999999999\n", 1, "not a value of type int"),
        ("a: {<<: 1}\n", 1, "a merge key (<<) that does not point to a mapping"),
    ],
)
def test_a_fault_is_named_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_documents(text, "f.yaml")
    assert [problem.line for problem in caught.value.problems] == [line]
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 5000, "a: " * 3 + "[" * 400 + "]" * 400])
def test_endless_nesting_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        read_documents(text, "f.yaml")


def test_anchors_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(ManifestError, match=f"more than {MAX_NODES} values"):
        read_documents("\n".join(lines), "f.yaml")


def test_several_faults_of_one_file_are_told_together() -> None:
    with pytest.raises(ManifestError) as caught:
        read_documents("a: !x 1\nb: 1\nb: 2\n---\nc: .nan\n", "f.yaml")
    assert [problem.line for problem in caught.value.problems] == [1, 3, 5]

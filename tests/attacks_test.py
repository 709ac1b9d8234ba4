"""attacks.md must stay true: every case has tests, and every test that it names exists and is built."""

import ast
import os
import re
import unittest

TESTS = os.path.dirname(os.path.abspath(__file__))
CASES = [
    *range(1, 19), 64, *range(19, 33), 33, 34, 36, 37, 38, 40, 41, 48, 59, 65, 43, 44, 45, 46, 49, 61, 62, 63, 47,
]
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \|$")


def read(*path):
    with open(os.path.join(TESTS, *path), encoding="utf-8") as file:
        return file.read()


def rows(text):
    """{case: (what must hold, [names of tests])}; a case that stands twice is an error."""
    found = {}
    for line in text.splitlines():
        match = ROW.match(line)
        if match is None:
            continue
        case = int(match[1])
        if case in found:
            raise ValueError(f"case {case} stands twice")
        found[case] = (match[2], re.findall(r"`([^`]+)`", match[3]))
    return found


def google_tests():
    """Suite.Test of all sources that a CMakeLists.txt beside them names."""
    found = set()
    for folder, _, files in os.walk(TESTS):
        lists = read(folder, "CMakeLists.txt") if "CMakeLists.txt" in files else ""
        built = set(re.findall(r"[\w./]+\.cc", lists))
        for name in files:
            if not name.endswith("_test.cc") or name not in built:
                continue
            for suite, test in re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)",
                                          read(folder, name), re.MULTILINE):
                found.add(f"{suite}.{test}")
    return found


def end_to_end_tests():
    """module.Class.test_name of all modules that run under ctest."""
    lists = read("e2e", "CMakeLists.txt")
    modules = {f"test_{name}" for name in re.findall(r"^mongoose_e2e\((\w+)", lists, re.MULTILINE)}
    for names in re.findall(r"^foreach\(name ([\w\s]+)\)", lists, re.MULTILINE):
        modules |= set(names.split())
    found = set()
    for module in modules:
        if not os.path.exists(os.path.join(TESTS, "e2e", module + ".py")):
            continue
        for node in ast.parse(read("e2e", module + ".py")).body:
            if not isinstance(node, ast.ClassDef):
                continue
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name.startswith("test_"):
                    found.add(f"{module}.{node.name}.{inner.name}")
    return found


def fuzz_targets():
    return {name for name in re.findall(r"mongoose_fuzz\((\w+)", read("fuzz", "CMakeLists.txt"))
            if os.path.exists(os.path.join(TESTS, "fuzz", name + ".cc"))}


class Attacks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rows = rows(read("attacks.md"))
        cls.existing = google_tests() | end_to_end_tests() | fuzz_targets()

    def test_every_case_stands_once_with_words_and_tests(self):
        self.assertEqual(list(self.rows), list(CASES))
        for case, (words, names) in self.rows.items():
            self.assertGreater(len(words), 40, f"case {case}")
            self.assertGreater(len(names), 0, f"case {case} has no test")
            self.assertEqual(len(names), len(set(names)), f"case {case} names one twice")

    def test_every_test_that_is_named_exists_and_is_built(self):
        for case, (_, names) in self.rows.items():
            for name in names:
                self.assertIn(name, self.existing, f"case {case}")

    def test_every_case_has_a_test_beside_fuzzing(self):
        for case, (_, names) in self.rows.items():
            self.assertTrue([name for name in names if "." in name], f"case {case}")

    def test_a_name_that_does_not_exist_is_found_out(self):
        self.assertNotIn("ProxyV2Test.NoSuchTest", self.existing)
        self.assertNotIn("test_tls.NoSuchClass.test_a_hello", self.existing)
        self.assertNotIn("fuzz_nothing", self.existing)
        self.assertGreater(len(self.existing), 400)

    def test_rows_are_read_as_they_are_written(self):
        self.assertEqual(rows("| case | what | tests |\n|---|---|---|\n| 7 | Holds `x`. | `A.B`, `c` |\n"),
                         {7: ("Holds `x`.", ["A.B", "c"])})
        with self.assertRaises(ValueError):
            rows("| 7 | Holds. | `A.B` |\n| 7 | Holds. | `A.B` |\n")


if __name__ == "__main__":
    unittest.main()

"""Runs modules of CPython's own test suite; what became of each test goes to a file as JSON: {"test id": "outcome"}.

Outcomes are "ok", "skipped", "failed" (an assertion) and "error"; the last two come with their traceback on the standard
error. Expected failures count as ok, unexpected successes as failed. The order is the modules' own.

python-suite.py FILE MODULE...    FILE as an absolute path; modules without the prefix "test."
"""

import json
import os
import sys
import tempfile
import time
import unittest

from test import support


class Outcomes(unittest.TextTestResult):
    """The first thing that goes wrong with a test is its outcome: subtests and tear-downs belong to their test."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.outcomes = {}
        self.started = {}

    def startTest(self, test):
        super().startTest(test)
        self.started[test.id()] = time.monotonic()

    def stopTest(self, test):
        seconds = time.monotonic() - self.started[test.id()]
        if seconds > 5:
            self.stream.writeln(f"{test.id()} took {seconds:.1f} s")
        super().stopTest(test)

    def note(self, test, outcome):
        name = getattr(test, "test_case", test).id()
        if self.outcomes.get(name, "ok") == "ok":
            self.outcomes[name] = outcome

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "ok")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.note(test, "failed")

    def addError(self, test, error):
        super().addError(test, error)
        self.note(test, "error")

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.note(test, "failed" if issubclass(error[0], test.failureException) else "error")

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self.note(test, "ok")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, "failed")


# AF_VSOCK knows no namespaces: whoever else tests on the machine has the same port.
NOT_OF_A_NAMESPACE = ("ThreadedVSOCKSocketStreamTest",)


def tests_of(suite):
    """Flat: unittest runs the fixtures of classes and modules by the order of their tests."""
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from tests_of(one)
        elif type(one).__name__ not in NOT_OF_A_NAMESPACE:
            yield one


def main(file, modules):
    # All but those that want a screen or much memory; what wants the internet skips itself where there is none.
    support.use_resources = ["cpu", "network", "subprocess", "walltime"]
    # Beside the outcomes, for whoever removes those: this process may be ended at its time limit.
    os.chdir(tempfile.mkdtemp(dir=os.path.dirname(file)))
    loaded = unittest.defaultTestLoader.loadTestsFromNames(f"test.{module}" for module in modules)
    runner = unittest.TextTestRunner(stream=sys.stderr, verbosity=2, resultclass=Outcomes)
    # The modules print, too: the standard output is theirs.
    outcomes = runner.run(unittest.TestSuite(tests_of(loaded))).outcomes
    with open(file, "w", encoding="utf-8") as output:
        json.dump(outcomes, output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

"""Compares what pytest says of irctest (`-rA`) with the list of known exceptions.

    compare.py EXCEPTIONS LOG

A line of EXCEPTIONS is `CASE: REASON`; CASE is a case as pytest names it, from its file on. A case that fails, or is
skipped in a way that says something is missing, must be listed, and what is listed must not pass.
"""

import collections
import re
import sys

# Reasons to skip a case that say nothing of the server.
OF_THE_SUITE = (
    "Not consistently implemented",
    "Casemapping rfc1459",
    "NON_UTF8_MESSAGE",
)
# What comes with stored history.
OF_HISTORY = ("draft/chathistory", "draft/message-redaction", "draft/read-marker")


def exceptions(path):
    listed = {}
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if line and not line.startswith("#"):
            case, reason = re.fullmatch(r"(\S+::\S+): (.+)", line).groups()
            listed[case] = reason
    return listed


def results(path):
    """Which cases ended how. Skipped ones are told by their reasons alone."""
    ended, skipped, summary = {}, collections.Counter(), ""
    for line in open(path, encoding="utf-8", errors="replace"):
        if found := re.match(r"(PASSED|FAILED|ERROR|XFAIL|XPASS) (?:\S*server_tests/)(\S+::.+?)(?: - .*)?$", line.rstrip()):
            how, case = found.groups()
            # An error in setting up or tearing down comes beside the result, and is worse.
            if how in ("FAILED", "ERROR") or case not in ended:
                ended[case] = how
        elif found := re.match(r"SKIPPED \[(\d+)\] \S+?:\d+: (.*)", line.rstrip()):
            skipped[found[2]] += int(found[1])
        elif re.match(r"=* ?\d+ (failed|passed)", line):
            summary = line.strip(" =\n")
    return ended, skipped, summary


def main():
    listed = exceptions(sys.argv[1])
    ended, skipped, summary = results(sys.argv[2])
    if not ended:
        print(open(sys.argv[2], encoding="utf-8", errors="replace").read()[-3000:])
        sys.exit("irctest: no case ran")
    failed = {case for case, how in ended.items() if how in ("FAILED", "ERROR")}
    passed = {case for case, how in ended.items() if how in ("PASSED", "XPASS")}
    print(f"irctest: {summary}")
    print(f"selected {len(ended) + sum(skipped.values())}, passed {len(passed)}, failed {len(failed)}, of which known {len(failed & set(listed))}")
    for reason, count in sorted(skipped.items()):
        print(f"skipped {count}: {reason}")
    wrong = False
    for case in sorted(failed - set(listed)):
        print(f"FAILED {case}: and is no known exception")
        wrong = True
    for case in sorted(passed & set(listed)):
        print(f"PASSED {case}: take it out of the list of exceptions ({listed[case]})")
        wrong = True
    for reason, count in sorted(skipped.items()):
        missing = not any(word in reason for word in OF_HISTORY + OF_THE_SUITE)
        if missing:
            print(f"SKIPPED {count}: something is missing: {reason}")
            wrong = True
    sys.exit(1 if wrong else 0)


main()

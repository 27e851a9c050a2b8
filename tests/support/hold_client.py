# SPDX-License-Identifier: Apache-2.0
"""A database client in a process of its own: what it asks may be held, while who decides is another process.

usage: hold_client.py PORT HOST, as a line for each step on standard input: {"send": [[kind, …], …], "answers": N}.
Each step's messages come back as one line; notices by themselves, as they come.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.support import wire  # noqa: E402

MAKERS = {
    "query": wire.query,
    "extended": wire.extended,
    "parse": wire.parse,
    "bind": lambda name, portal, values: wire.bind(name, portal, values),
    "execute": wire.execute,
    "sync": lambda: wire.SYNC,
}


def say(what):
    print(json.dumps(what), flush=True)


def shown(tag, body):
    if tag in b"EN":
        return [tag.decode(), wire.fields(body)]
    return [tag.decode(), body.decode("latin1")]


def main():
    session = wire.Session(int(sys.argv[1]), host=sys.argv[2], database="talk", application_name=sys.argv[3])
    session.socket.settimeout(120)
    say({"ready": True})
    for line in sys.stdin:
        step = json.loads(line)
        session.send(b"".join(MAKERS[kind](*arguments) for kind, *arguments in step["send"]))
        messages, left = [], step["answers"]
        try:
            while left:
                tag, body = session.message()
                if tag == b"N":
                    say({"notice": wire.fields(body)})
                    continue
                messages.append(shown(tag, body))
                left -= tag == b"Z"
        except wire.Closed:
            messages.append(["closed", ""])
        say({"messages": messages})


if __name__ == "__main__":
    main()

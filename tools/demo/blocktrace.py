# SPDX-License-Identifier: Apache-2.0
"""Request traces: each request is the list of ids of the blocks it needs, in order.

A trace is either the published form, one JSON object with "hash_ids" per line, or the compact one made by
`blocktrace.py FILE.jsonl > FILE.trace`: one request per line, "7" for a block, "7-12" for a run, "+5" for the next five that
no request named before. Lines with # are comments.
"""
import json
import sys


def parse_compact(line, fresh):
    ids = []
    for word in line.split():
        if word[0] == "+":
            n = int(word[1:])
            ids.extend(range(fresh, fresh + n))
        else:
            first, _, last = word.partition("-")
            ids.extend(range(int(first), int(last or first) + 1))
        fresh = max(fresh, ids[-1] + 1)
    return ids, fresh


def read(path, limit=0):
    """All requests of a file, at most @limit of them (0: all)."""
    requests, fresh = [], 0
    with open(path, encoding="ascii") as f:
        for number, line in enumerate(f, 1):
            if line.startswith("#") or not line.strip():
                continue
            try:
                if line[0] == "{":
                    ids = [int(i) for i in json.loads(line)["hash_ids"]]
                else:
                    ids, fresh = parse_compact(line, fresh)
            except (ValueError, KeyError, IndexError) as e:
                raise ValueError(f"{path}:{number}: not a request: {e!r}") from None
            if ids:
                requests.append(ids)
            if limit and len(requests) == limit:
                break
    if not requests:
        raise ValueError(f"{path}: no requests")
    return requests


def compact(ids, fresh):
    words, i = [], 0
    while i < len(ids):
        j = i
        while j + 1 < len(ids) and ids[j + 1] == ids[j] + 1 and (ids[j] < fresh) == (ids[j + 1] < fresh):
            j += 1
        if ids[i] == fresh:
            words.append(f"+{j - i + 1}")
        else:
            words.append(f"{ids[i]}-{ids[j]}" if j > i else str(ids[i]))
        fresh = max(fresh, ids[j] + 1)
        i = j + 1
    return " ".join(words), fresh


def best_hits(requests):
    """Blocks that a cache of unlimited size would have found: the longest prefix known from earlier requests."""
    seen, hits = set(), 0
    for ids in requests:
        hits += next((i for i, b in enumerate(ids) if b not in seen), len(ids))
        seen.update(ids)
    return hits, len(seen)


def main():
    fresh = 0
    for ids in read(sys.argv[1]):
        line, fresh = compact(ids, fresh)
        print(line)


if __name__ == "__main__":
    main()

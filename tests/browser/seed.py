"""Sends a treehook what a few creators' pages send in a month: `seed.py URL SECRET`.

Signed as Linktree signs, the same events in each run, and some that become dead letters.
"""

import hashlib
import hmac
import json
import random
import sys
import time
import urllib.request

DAY = 86_400


def envelope(number, kind, at, data):
    return {"id": f"seed-{number}", "type": kind, "timestamp": at, "data": data}


def events(now):
    """A month of three profiles, link changes, milestones, and letters that stay dead."""
    choose = random.Random(7)
    number = 0
    for profile in ("ada", "grace", "joan"):
        for link in range(6):
            title = {"profile_id": profile, "link_id": f"link-{link}", "title": f"Link {link}",
                     "url": f"https://example.com/{link}", "type": "classic", "position": link}
            yield envelope(number, "link.created", now - 31 * DAY + number, title)
            number += 1
        told = {"profile_id": profile, "username": profile, "display_name": profile.title()}
        yield envelope(number, "profile.updated", now - 30 * DAY, told)
        number += 1
        for _ in range(400):
            visit = {"profile_id": profile, "visitor_id": f"v{choose.randrange(150)}",
                     "country": choose.choice(["DE", "US", "FR", "JP", None]),
                     "referrer": choose.choice(["https://www.instagram.com/", "https://t.co/x", "direct", None]),
                     "device": choose.choice(["mobile", "mobile", "desktop", "tablet", None])}
            kind = choose.choice(["profile.viewed", "link.clicked"])
            if kind == "link.clicked":
                visit["link_id"] = f"link-{choose.randrange(6)}"
            yield envelope(number, kind, now - choose.randrange(30 * DAY), visit)
            number += 1
        for threshold in (100, 200):
            reached = {"profile_id": profile, "metric": "clicks", "threshold": threshold, "value": threshold + 3}
            yield envelope(number, "analytics.milestone", now - threshold * 3600, reached)
            number += 1
    for _ in range(300):
        yield envelope(number, "link.clicked", now, {"profile_id": "ada"})
        number += 1
    for _ in range(20):
        yield envelope(number, "link.clicked", now + 9000, {"profile_id": "ada", "link_id": "link-1"})
        number += 1


def post(url, secret, batch, now):
    body = json.dumps(batch).encode()
    signature = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-linktree-timestamp": str(now), "x-linktree-signature": signature}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/webhooks/linktree", body, headers), timeout=30) as answer:
        assert answer.status == 202, answer.status


def main():
    url, secret = sys.argv[1:]
    now = int(time.time())
    sent = list(events(now))
    for start in range(0, len(sent), 200):
        post(url, secret, sent[start:start + 200], now)
    print(len(sent))


main()

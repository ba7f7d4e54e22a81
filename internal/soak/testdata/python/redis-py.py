"""redis-py under load. SOAK_NAME and SOAK_NEXT are this program and the one that it
feeds. It prints what it has done, and ends when its standard input does."""

import hashlib
import json
import os
import random
import sys
import threading
import time
import traceback

import redis

NAME, NEXT = os.environ["SOAK_NAME"], os.environ["SOAK_NEXT"]
END = time.monotonic() + float(os.environ["SOAK_SECONDS"])
SCRIPT = "return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}"
INVALIDATIONS = "__redis__:invalidate"
WHERE = {"host": os.environ["REDIS_HOST"], "port": int(os.environ["REDIS_PORT"])}

LOADS = "pipelines", "transactions", "elements", "messages", "invalidations", "silences", "scans", "large values"

counts = dict.fromkeys(LOADS, 0)
connections = []  # the CLIENT ID of each, and what asks for it again


def running():
    return time.monotonic() < END


def pause(most):
    time.sleep(random.random() * most)


def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what} = {got!r:.300}, want {want!r:.300}")


def ask(connection, *words):
    """Without what redis-py makes of answers."""
    connection.send_command(*words)
    return connection.read_response()


def connect(**options):
    client = redis.Redis(**WHERE, **{"single_connection_client": True, "decode_responses": True, **options})
    connections.append((client.client_id(), client.client_id))
    return client


def subscribe(channel=None, pattern=None):
    subscriber = redis.Redis(**WHERE, decode_responses=True).pubsub()
    subscriber.execute_command("CLIENT", "ID")  # takes a connection, and leaves the answer on it
    subscriber.id = subscriber.connection.read_response()
    connections.append((subscriber.id, lambda: ask(subscriber.connection, "CLIENT", "ID")))
    if channel:
        subscriber.subscribe(channel)
    else:
        subscriber.psubscribe(pattern)
    check("subscription", next(subscriber.listen())["data"], 1)
    return subscriber


def counter():
    client, n = connect(single_connection_client=False, max_connections=1), 0  # pipelines do not use a single one
    while running():
        check("INCR", client.incr("counter:" + NAME), n + 1)
        batch = client.pipeline(transaction=False)
        for _ in range(20):
            batch.incr("counter:" + NAME)
        check("pipeline", batch.execute(), list(range(n + 2, n + 22)))
        n += 21
        counts["pipelines"] += 1
        pause(0.01)


def transactions():
    client, other, key, n = connect(), connect(), "transaction:" + NAME, 0
    while running():
        client.execute_command("WATCH", key)
        pause(0.2)
        spoilt = random.random() < 0.3
        if spoilt:
            n += 1
            check("INCR", other.incr(key), n)
        ask(client.connection, "MULTI")
        pause(1 if random.random() < 0.1 else 0.05)
        check("INCR in MULTI", ask(client.connection, "INCR", key), "QUEUED")
        check("EXEC", ask(client.connection, "EXEC"), None if spoilt else [n + 1])
        n += not spoilt
        counts["transactions"] += 1


def queue():
    client, n = connect(), 0
    while True:
        popped = client.blpop("jobs:" + NAME, 1)
        if popped is None:
            continue
        if popped[1] == "end":
            return
        check("BLPOP", popped[1], str(n))
        n += 1
        counts["elements"] += 1


def messages(subscriber, kind):
    n = 0
    for message in subscriber.listen():
        if message["data"] == "end":
            break
        check(kind, (message["type"], message["data"]), (kind, str(n)))
        n += 1
        counts["messages"] += 1
    subscriber.unsubscribe() if kind == "message" else subscriber.punsubscribe()
    check("subscriptions left", subscriber.parse_response()[2], 0)


def feed():
    client, n = connect(), 0
    while (listeners := client.get("ready:" + NEXT)) is None:
        time.sleep(0.01)
    while running():
        check("PUBLISH", client.publish("news:" + NEXT, n), int(listeners))
        client.rpush("jobs:" + NEXT, n)
        n += 1
        time.sleep(1.5 if n % 50 == 0 else 0.02)
    client.publish("news:" + NEXT, "end")
    client.rpush("jobs:" + NEXT, "end")


def tracking():
    """In RESP2 invalidations go to a subscriber."""
    reader, writer, subscriber = connect(), connect(), subscribe(INVALIDATIONS)
    reader.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", subscriber.id, "OPTIN")
    n = 0
    while running():
        key = f"tracked:{NAME}:{n}"
        reader.execute_command("CLIENT", "CACHING", "YES")
        pause(0.2)
        check("GET", reader.get(key), None)
        pause(0.05)
        writer.set(key, n, ex=60)
        message = subscriber.get_message(timeout=60)
        check("invalidation", message and message["data"], [key])
        n += 1
        counts["invalidations"] += 1
    subscriber.unsubscribe()
    check("subscriptions left", subscriber.parse_response()[2], 0)


def silence():
    connection, key, n = connect().connection, "silent:" + NAME, 0
    while running():
        connection.send_command("CLIENT", "REPLY", "SKIP")
        pause(0.3)
        connection.send_command("INCR", key)
        n += 2
        check("INCR after SKIP", ask(connection, "INCR", key), n)
        connection.send_command("CLIENT", "REPLY", "OFF")
        for _ in range(10):
            connection.send_command("INCR", key)
        pause(0.3)
        check("CLIENT REPLY ON", ask(connection, "CLIENT", "REPLY", "ON"), "OK")
        n += 11
        check("INCR after ON", ask(connection, "INCR", key), n)
        counts["silences"] += 1


def reads():
    client, n = connect(), 0
    keys = {f"scanned:{NAME}:{i}" for i in range(500)}
    client.mset({key: "x" for key in keys})
    while running():
        check("SCAN", set(client.scan_iter(f"scanned:{NAME}:*", 1000)), keys)
        n += 1
        check("EVAL", client.eval(SCRIPT, 1, "script:" + NAME, n), ["script:" + NAME, str(n), n])
        counts["scans"] += 1
        pause(0.1)


def large():
    """One program at a time, so that no transfer takes as long as a connection lives."""
    client = connect(decode_responses=False)
    while client.get("ready:" + NEXT) is None:  # the machine is busy with programs that start
        time.sleep(0.01)
    while running() or counts["large values"] == 0:
        if not client.set("turn", NAME, nx=True):
            pause(0.2)
            continue
        value = (os.urandom(1 << 20) + b"\r\n+OK\r\n").ljust(2 << 20, b"\0") * 32
        client.set("large:" + NAME, value)
        want = hashlib.sha256(value).hexdigest()
        del value
        check("GET of 64 MiB", hashlib.sha256(client.get("large:" + NAME)).hexdigest(), want)
        client.delete("turn")
        counts["large values"] += 1
        time.sleep(3)


def guarded(load):
    try:
        load()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def main():
    connect()  # and leaves it idle
    subscribers = [(subscribe(channel="news:" + NAME), "message"), (subscribe(pattern="n*s:" + NAME), "pmessage")]
    connect().set("ready:" + NAME, len(subscribers))
    loads = [counter, transactions, queue, feed, tracking, silence, reads, large]
    loads += [lambda s=s: messages(*s) for s in subscribers]
    threads = [threading.Thread(target=guarded, args=[load]) for load in loads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"connections": len(connections), **counts}), flush=True)
    sys.stdin.read()
    for before, now in connections:
        check("CLIENT ID", now(), before)


guarded(main)

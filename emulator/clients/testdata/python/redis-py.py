import json
import os
import sys

import redis

SCRIPT = "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}"
LARGE = "\r\n\0+OK\r\n" * 100_000


def show(step, value):
    print(json.dumps({"step": step, "value": value}), flush=True)


def main():
    client = redis.Redis(
        host=os.environ["REDIS_HOST"],
        port=int(os.environ["REDIS_PORT"]),
        username=os.environ["REDIS_USERNAME"],
        password=os.environ["REDIS_PASSWORD"],
        ssl=True,
        ssl_ca_certs=os.environ["REDIS_CA"],
        ssl_check_hostname=True,
        decode_responses=True,
        single_connection_client=True,
    )
    show("user", client.acl_whoami())
    hello = client.execute_command("HELLO")
    show("protocol", int(hello[hello.index("proto") + 1]))
    show("set", "OK" if client.set("foo1", "bar1") else "not OK")
    show("get", client.get("foo1"))
    show("missing", client.get("not_there"))
    client.hset("hash", mapping={"a": "1", "b": "2"})
    show("hash", client.hgetall("hash"))
    client.set("large", LARGE)
    show("large", client.get("large") == LARGE)
    for step, key, transaction in ("pipeline", "p", False), ("transaction", "t", True):
        batch = client.pipeline(transaction=transaction).set(key, 1).incr(key).get(key)
        done, *rest = batch.execute()
        show(step, ["OK" if done is True else done, *rest])
    show("script", client.eval(SCRIPT, 1, "foo1", "argument"))
    with client.pubsub() as subscriber:
        subscriber.subscribe("news")
        messages = subscriber.listen()
        if next(messages)["type"] == "subscribe":
            client.publish("news", "hello")
        message = next(messages)
        show("message", [message["channel"], message["data"]])
    try:
        client.get("hash")
    except redis.ResponseError as error:
        show("error", str(error))
    renewed = client.execute_command("AUTH", os.environ["REDIS_USERNAME"], os.environ["REDIS_RENEWAL"])
    show("renewal", "OK" if renewed is True else renewed)
    show("after", client.get("foo1"))


try:
    main()
except redis.RedisError as error:
    show("failed", str(error))
    sys.exit(1)

# Runs tasks for some seconds: alone, in a group, in a chord, and a command that goes
# to all workers over pub/sub. Any failure is an exception.
import gc
import sys
import time
import uuid

from celery import chord, group

from tasks import add, app, total


def value(result):
    # Celery subscribes to a result and does not wait until it has: on a busy machine
    # the task may be done before, and get is never told. What is subscribed to later
    # on the same connection is so later.
    latest = "latest-" + str(uuid.uuid4())
    app.backend.result_consumer._pubsub.subscribe(latest)
    while app.backend.client.pubsub_numsub(latest)[0][1] == 0:
        time.sleep(0.001)
    return result.get(timeout=20)


gc.disable()  # a result that is collected unsubscribes, from another of the same task too
end = time.monotonic() + int(sys.argv[1])
n = 0
while time.monotonic() < end:
    assert value(add.delay(n, 1)) == n + 1
    assert value(group(add.s(i, i) for i in range(5))()) == [0, 2, 4, 6, 8]
    assert value(chord([add.s(n, i) for i in range(3)], total.s()).apply_async()) == 3 * n + 3
    assert len(app.control.ping(timeout=1)) == 1
    n += 10
    time.sleep(0.05)
print(n, "tasks")

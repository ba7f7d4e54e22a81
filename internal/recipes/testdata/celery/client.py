# Runs tasks for some seconds: alone, in a group, in a chord, and a command that goes
# to all workers over pub/sub. Any failure is an exception.
import sys
import time

from celery import chord, group

from tasks import add, app, total

end = time.monotonic() + int(sys.argv[1])
n = 0
while time.monotonic() < end:
    assert add.delay(n, 1).get(timeout=20) == n + 1
    assert group(add.s(i, i) for i in range(5))().get(timeout=20) == [0, 2, 4, 6, 8]
    assert chord([add.s(n, i) for i in range(3)], total.s()).apply_async().get(timeout=20) == 3 * n + 3
    assert len(app.control.ping(timeout=1)) == 1
    n += 10
    time.sleep(0.05)
print(n, "tasks")

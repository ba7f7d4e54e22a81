<?php

// php-redis under load: with the argument "messages" a subscriber, without it all the
// rest. SOAK_NAME and SOAK_NEXT are this program and the one that it feeds. It prints
// what it has done, and ends when its standard input does.

const SCRIPT = "return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}";

$name = getenv('SOAK_NAME');
$next = getenv('SOAK_NEXT');
$end = hrtime(true) + 1e9 * (float) getenv('SOAK_SECONDS');
$messages = ($argv[1] ?? '') === 'messages';
$counts = array_fill_keys($messages ? ['messages'] : ['pipelines', 'transactions', 'elements', 'scans', 'large values'], 0);
$connections = []; // and the CLIENT ID of each

function check(string $what, mixed $got, mixed $want): void
{
    if ($got !== $want) {
        throw new Exception(substr("$what = " . json_encode($got), 0, 300) . substr(', want ' . json_encode($want), 0, 300));
    }
}

function connect(bool $persistent = false): Redis
{
    global $connections;
    $client = new Redis();
    $where = [getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'), 0];
    $persistent ? $client->pconnect(...$where) : $client->connect(...$where);
    $client->setOption(Redis::OPT_READ_TIMEOUT, -1);
    $client->setOption(Redis::OPT_MAX_RETRIES, 0);
    $connections[] = [$client, $client->rawCommand('CLIENT', 'ID')];
    return $client;
}

function done(string $what): void
{
    global $counts;
    $counts[$what]++;
}

// finish waits to be told, with everything open.
function finish(): void
{
    global $connections, $counts;
    echo json_encode(['connections' => count($connections)] + $counts), "\n";
    stream_get_contents(STDIN);
    foreach ($connections as [$client, $before]) {
        check('CLIENT ID', $client->rawCommand('CLIENT', 'ID'), $before);
    }
}

// messages does all within the callback: subscribe ends by an exception.
function messages(): void
{
    global $name;
    $n = 0;
    $finished = false;
    try {
        connect()->subscribe(["news:$name"], function (Redis $client, string $channel, string $text) use (&$n, &$finished): void {
            if ($text === 'end') {
                $client->unsubscribe([$channel]);
                finish();
                $finished = true;
                $client->close();
                return;
            }
            check('message', $text, (string) $n++);
            done('messages');
        });
    } catch (RedisException $error) {
        if (!$finished) {
            throw $error;
        }
    }
}

function counter(Redis $client): void
{
    global $name;
    static $n = 0;
    check('INCR', $client->incr("counter:$name"), $n + 1);
    $batch = $client->pipeline();
    for ($i = 0; $i < 20; $i++) {
        $batch->incr("counter:$name");
    }
    check('pipeline', $batch->exec(), range($n + 2, $n + 21));
    $n += 21;
    done('pipelines');
}

function transaction(Redis $client, Redis $other): void
{
    global $name;
    static $n = 0;
    $spoilt = random_int(1, 10) <= 3;
    $client->watch("transaction:$name");
    if ($spoilt) {
        check('INCR', $other->incr("transaction:$name"), ++$n);
    }
    $client->multi();
    usleep(random_int(0, 200_000));
    $client->incr("transaction:$name");
    check('EXEC', $client->exec(), $spoilt ? false : [++$n]);
    done('transactions');
}

// element pops one, and is false for the last.
function element(Redis $client): bool
{
    global $name;
    static $n = 0;
    $popped = $client->blPop(["jobs:$name"], 1);
    if ($popped === []) {
        return true;
    }
    if ($popped[1] === 'end') {
        return false;
    }
    check('BLPOP', $popped[1], (string) $n++);
    done('elements');
    return true;
}

function feed(Redis $client, int $listeners): void
{
    global $next;
    static $n = 0;
    check('PUBLISH', $client->publish("news:$next", (string) $n), $listeners);
    $client->rPush("jobs:$next", (string) $n++);
}

function reads(Redis $client, array $keys): void
{
    global $name;
    static $n = 0;
    $found = [];
    $at = null;
    while (($some = $client->scan($at, "scanned:$name:*", 1000)) !== false) {
        $found += array_flip($some);
    }
    ksort($found);
    check('SCAN', array_keys($found), $keys);
    $n++;
    check('EVAL', $client->eval(SCRIPT, ["script:$name", $n], 1), ["script:$name", (string) $n, $n]);
    done('scans');
}

// large is for one program at a time, so that no transfer takes as long as a
// connection lives.
function large(Redis $client): void
{
    global $name;
    if (!$client->set('turn', $name, ['nx'])) {
        return;
    }
    $value = str_repeat(str_pad(random_bytes(1 << 20) . "\r\n+OK\r\n", 2 << 20, "\0"), 32);
    check('SET of 64 MiB', $client->set("large:$name", $value), true);
    $want = hash('sha256', $value);
    unset($value);
    check('GET of 64 MiB', hash('sha256', $client->get("large:$name")), $want);
    $client->del('turn');
    done('large values');
}

function work(): void
{
    global $name, $next, $end, $counts;
    $control = connect(); // and then leaves it idle
    while ($control->pubsub('numsub', ["news:$name"])["news:$name"] === 0) {
        usleep(10_000);
    }
    $control->set("ready:$name", '1');
    while (($listeners = $control->get("ready:$next")) === false) {
        usleep(10_000);
    }
    $keys = array_map(fn (int $i): string => "scanned:$name:$i", range(0, 499));
    sort($keys);
    $control->mSet(array_fill_keys($keys, 'x'));
    [$counter, $watcher, $spoiler, $queue, $feeder, $reader, $large] = [connect(true), connect(), connect(), connect(), connect(), connect(), connect()];
    $more = true; // elements to come
    while (hrtime(true) < $end || $counts['large values'] === 0) {
        counter($counter);
        transaction($watcher, $spoiler);
        feed($feeder, (int) $listeners);
        $more = $more && element($queue);
        reads($reader, $keys);
        large($large);
    }
    $feeder->publish("news:$next", 'end');
    $feeder->rPush("jobs:$next", 'end');
    while ($more) {
        $more = element($queue);
    }
    finish();
}

try {
    ini_set('display_errors', 'stderr');
    ini_set('memory_limit', '1G');
    $messages ? messages() : work();
} catch (Throwable $error) {
    fwrite(STDERR, "$error\n");
    exit(1);
}

<?php

const SCRIPT = "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}";

function show(string $step, mixed $value): void
{
    echo json_encode(['step' => $step, 'value' => $value]), "\n";
}

// ok is how a reply of OK comes to a caller.
function ok(mixed $value): mixed
{
    return $value === true ? 'OK' : $value;
}

function connect(): Redis
{
    $client = new Redis();
    $tls = ['cafile' => getenv('REDIS_CA'), 'verify_peer' => true, 'verify_peer_name' => true];
    $client->connect('tls://' . getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'), 10, null, 0, 10, ['stream' => $tls]);
    $client->auth([getenv('REDIS_USERNAME'), getenv('REDIS_PASSWORD')]);
    return $client;
}

// message subscribes, and has another process publish until somebody listens:
// the extension does not tell when it is subscribed.
function message(Redis $subscriber): array
{
    $child = pcntl_fork();
    if ($child === 0) {
        $publisher = connect();
        while ($publisher->publish('news', 'hello') === 0) {
            usleep(1000);
        }
        posix_kill(posix_getpid(), SIGKILL); // without a goodbye on the connections of its parent
    }
    $seen = [];
    try {
        $subscriber->subscribe(['news'], function (Redis $client, string $channel, string $text) use (&$seen): void {
            $seen = [$channel, $text];
            $client->unsubscribe(['news']);
            $client->close(); // ends subscribe, by an exception
        });
    } catch (RedisException $error) {
        if ($seen === []) {
            throw $error;
        }
    } finally {
        posix_kill($child, SIGKILL);
        pcntl_waitpid($child, $status);
    }
    return $seen;
}

function main(): void
{
    $large = str_repeat("\r\n\0+OK\r\n", 100_000);
    $client = connect();
    show('user', $client->rawCommand('ACL', 'WHOAMI'));
    $hello = $client->rawCommand('HELLO');
    show('protocol', $hello[array_search('proto', $hello, true) + 1]);
    show('set', ok($client->set('foo1', 'bar1')));
    show('get', $client->get('foo1'));
    $missing = $client->get('not_there');
    show('missing', $missing === false ? null : $missing);
    $client->hMSet('hash', ['a' => '1', 'b' => '2']);
    show('hash', $client->hGetAll('hash'));
    $client->set('large', $large);
    show('large', $client->get('large') === $large);
    show('pipeline', array_map(ok(...), $client->multi(Redis::PIPELINE)->set('p', 1)->incr('p')->get('p')->exec()));
    show('transaction', array_map(ok(...), $client->multi()->set('t', 1)->incr('t')->get('t')->exec()));
    show('script', $client->eval(SCRIPT, ['foo1', 'argument'], 1));
    show('message', message(connect()));
    $client->get('hash');
    show('error', rtrim($client->getLastError(), "\0")); // version 5.3 ends it with a NUL
    show('renewal', ok($client->auth([getenv('REDIS_USERNAME'), getenv('REDIS_RENEWAL')])));
    show('after', $client->get('foo1'));
}

try {
    ini_set('display_errors', 'stderr');
    main();
} catch (RedisException $error) {
    show('failed', $error->getMessage());
    exit(1);
}

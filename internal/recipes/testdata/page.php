<?php
// Counts in the session and in the cache.
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
session_write_close();
$cache = new Redis();
$cache->pconnect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'));
echo 'session ', $_SESSION['n'], ', cache ', $cache->incr('counted');

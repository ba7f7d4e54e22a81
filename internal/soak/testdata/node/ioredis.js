const { Redis } = require("ioredis");
const { check, done, elements, fail, feed, from, inbox, keys, large, main, messages, name, pause, run, running, script, target } = require("./load.js");

const connections = [];

async function connect() {
  const client = new Redis({ ...target, lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0, autoResubscribe: false });
  client.on("error", fail);
  client.on("close", () => fail(new Error("a connection was closed")));
  await client.connect();
  const ask = () => client.call("CLIENT", "ID");
  client.id = await ask();
  connections.push({ id: client.id, ask });
  return client;
}

const values = (replies) => replies?.map(([error, value]) => error ?? value) ?? null;

async function counter() {
  const client = await connect();
  const key = `counter:${name}`;
  for (let n = 0; running(); n += 40) {
    check("INCR", await Promise.all(from(0, 20).map(() => client.incr(key))), from(n + 1, 20));
    const batch = client.pipeline();
    for (let i = 0; i < 20; i++) batch.incr(key);
    check("pipeline", values(await batch.exec()), from(n + 21, 20));
    done("pipelines");
    await pause(10);
  }
}

async function transactions() {
  const [client, other] = [await connect(), await connect()];
  const key = `transaction:${name}`;
  for (let n = 0; running(); ) {
    await client.watch(key);
    await pause(200);
    const spoilt = Math.random() < 0.3;
    if (spoilt) check("INCR", await other.incr(key), ++n);
    await client.multi({ pipeline: false });
    await pause(Math.random() < 0.1 ? 1000 : 50);
    check("INCR in MULTI", await client.incr(key), "QUEUED");
    check("EXEC", values(await client.exec()), spoilt ? null : [++n]);
    done("transactions");
  }
}

async function queue() {
  const client = await connect();
  await elements(async (key, seconds) => (await client.blpop(key, seconds))?.[1] ?? null);
}

async function feeder() {
  const client = await connect();
  await feed({ get: (k) => client.get(k), publish: (c, text) => client.publish(c, text), push: (k, v) => client.rpush(k, v) });
}

// tracking is for RESP2, where invalidations go to a subscriber: in RESP3 ioredis
// drops them.
async function tracking() {
  const [reader, writer, subscriber] = [await connect(), await connect(), await connect()];
  const received = inbox();
  subscriber.on("message", (_, names) => received.put(names));
  await subscriber.subscribe("__redis__:invalidate");
  await reader.call("CLIENT", "TRACKING", "ON", "REDIRECT", subscriber.id);
  for (let n = 0; running(); n++) {
    const key = `tracked:${name}:${n}`;
    check("GET", await reader.get(key), null);
    await pause(200);
    await writer.set(key, n, "EX", 60);
    check("invalidation", await received.get(), key);
    done("invalidations");
  }
  await subscriber.unsubscribe();
}

async function reads() {
  const client = await connect();
  await client.mset(keys.flatMap((key) => [key, "x"]));
  for (let n = 1; running(); n++) {
    const found = new Set();
    for await (const some of client.scanStream({ match: `scanned:${name}:*`, count: 1000 })) some.forEach((key) => found.add(key));
    check("SCAN", [...found].sort(), keys);
    check("EVAL", await client.eval(script, 1, `script:${name}`, n), [`script:${name}`, String(n), n]);
    done("scans");
    await pause(100);
  }
}

async function largeValues() {
  const client = await connect();
  const take = (k, v) => client.set(k, v, "NX");
  await large({ take, set: (k, v) => client.set(k, v), get: (k) => client.getBuffer(k), release: (k) => client.del(k) });
}

main(async () => {
  await connect(); // and leaves it idle
  const [first, second] = [await connect(), await connect()];
  const [plain, patterned] = [inbox(), inbox()];
  first.on("message", (_, text) => plain.put(text));
  await first.subscribe(`news:${name}`);
  second.on("pmessage", (_, __, text) => patterned.put(text));
  await second.psubscribe(`n*s:${name}`);
  await (await connect()).set(`ready:${name}`, 2);
  const subscribers = [() => messages(plain).then(() => first.unsubscribe()), () => messages(patterned).then(() => second.punsubscribe())];
  const loads = [counter, transactions, queue, feeder, reads, largeValues, ...subscribers];
  await run(connections, target.protocol === 2 ? [tracking, ...loads] : loads);
});

const { createClient, RESP_TYPES, WatchError } = require("redis");
const { check, done, elements, fail, feed, from, inbox, keys, large, main, messages, name, pause, run, running, script, target } = require("./load.js");

const connections = [];

async function connect(options = {}) {
  const { host, port, protocol } = target;
  const client = createClient({ RESP: protocol, socket: { host, port, reconnectStrategy: false }, ...options });
  client.on("error", fail);
  await client.connect();
  const ask = () => client.sendCommand(["CLIENT", "ID"]);
  client.id = await ask();
  connections.push({ id: client.id, ask });
  return client;
}

async function counter() {
  const client = await connect();
  const key = `counter:${name}`;
  for (let n = 0; running(); n += 40) {
    check("INCR", await Promise.all(from(0, 20).map(() => client.incr(key))), from(n + 1, 20));
    const batch = client.multi();
    for (let i = 0; i < 20; i++) batch.incr(key);
    check("pipeline", await batch.execAsPipeline(), from(n + 21, 20));
    done("pipelines");
    await pause(10);
  }
}

async function transactions() {
  const [client, other] = [await connect(), await connect()];
  const key = `transaction:${name}`;
  for (let n = 0; running(); ) {
    await client.watch(key);
    await pause(300);
    const spoilt = Math.random() < 0.3;
    if (spoilt) check("INCR", await other.incr(key), ++n);
    const got = await client
      .multi()
      .incr(key)
      .exec()
      .catch((error) => (error instanceof WatchError ? null : Promise.reject(error)));
    check("EXEC", got, spoilt ? null : [++n]);
    done("transactions");
  }
}

async function queue() {
  const client = await connect();
  await elements(async (key, seconds) => (await client.blPop(key, seconds))?.element ?? null);
}

async function feeder() {
  const client = await connect();
  await feed({ get: (k) => client.get(k), publish: (c, text) => client.publish(c, text), push: (k, v) => client.rPush(k, v) });
}

// tracking has its invalidations on the connection that reads, or in RESP2 on one
// that subscribes.
async function tracking() {
  const received = inbox();
  const reader = await connect({ emitInvalidate: target.protocol === 3 });
  const writer = await connect();
  let subscriber;
  if (target.protocol === 3) {
    reader.on("invalidate", (key) => received.put(String(key)));
    await reader.sendCommand(["CLIENT", "TRACKING", "OFF"]);
    await reader.sendCommand(["CLIENT", "TRACKING", "ON", "OPTIN"]);
  } else {
    subscriber = await connect();
    await subscriber.subscribe("__redis__:invalidate", (names) => received.put(String(names)));
    await reader.sendCommand(["CLIENT", "TRACKING", "ON", "REDIRECT", String(subscriber.id), "OPTIN"]);
  }
  for (let n = 0; running(); n++) {
    const key = `tracked:${name}:${n}`;
    await reader.sendCommand(["CLIENT", "CACHING", "YES"]);
    await pause(200);
    check("GET", await reader.get(key), null);
    await pause(50);
    await writer.set(key, n, { expiration: { type: "EX", value: 60 } });
    check("invalidation", await received.get(), key);
    done("invalidations");
  }
  await subscriber?.unsubscribe();
}

async function reads() {
  const client = await connect();
  await client.mSet(keys.map((key) => [key, "x"]));
  for (let n = 1; running(); n++) {
    const found = new Set();
    for await (const some of client.scanIterator({ MATCH: `scanned:${name}:*`, COUNT: 1000 })) some.forEach((key) => found.add(key));
    check("SCAN", [...found].sort(), keys);
    check("EVAL", await client.eval(script, { keys: [`script:${name}`], arguments: [String(n)] }), [`script:${name}`, String(n), n]);
    done("scans");
    await pause(100);
  }
}

async function largeValues() {
  const client = (await connect()).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  const take = (k, v) => client.set(k, v, { condition: "NX" });
  await large({ take, set: (k, v) => client.set(k, v), get: (k) => client.get(k), release: (k) => client.del(k) });
}

main(async () => {
  await connect(); // and leaves it idle
  const [first, second] = [await connect(), await connect()];
  const [plain, patterned] = [inbox(), inbox()];
  await first.subscribe(`news:${name}`, plain.put);
  await second.pSubscribe(`n*s:${name}`, patterned.put);
  await (await connect()).set(`ready:${name}`, 2);
  const subscribers = [() => messages(plain).then(() => first.unsubscribe()), () => messages(patterned).then(() => second.pUnsubscribe())];
  await run(connections, [counter, transactions, queue, feeder, tracking, reads, largeValues, ...subscribers]);
});

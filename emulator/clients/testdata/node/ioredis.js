const { readFileSync } = require("node:fs");
const { Redis } = require("ioredis");
const { field, large, script, show, target } = require("./steps.js");

async function main() {
  const client = new Redis({
    protocol: target.protocol,
    host: target.host,
    port: target.port,
    username: target.username,
    password: target.password,
    tls: { ca: readFileSync(target.ca) },
    lazyConnect: true,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
  });
  let failure; // connect says only that the connection is closed
  client.on("error", (error) => (failure ??= error));
  await client.connect().catch((error) => Promise.reject(failure ?? error));
  show("user", await client.call("ACL", "WHOAMI"));
  show("protocol", Number(field(await client.call("HELLO"), "proto")));
  show("set", await client.set("foo1", "bar1"));
  show("get", await client.get("foo1"));
  show("missing", await client.get("not_there"));
  await client.hset("hash", { a: "1", b: "2" });
  show("hash", await client.hgetall("hash"));
  await client.set("large", large);
  show("large", (await client.get("large")) === large);
  const values = (replies) => replies.map(([error, value]) => error?.message ?? value);
  show("pipeline", values(await client.pipeline().set("p", 1).incr("p").get("p").exec()));
  show("transaction", values(await client.multi().set("t", 1).incr("t").get("t").exec()));
  show("script", await client.eval(script, 1, "foo1", "argument"));
  const subscriber = client.duplicate();
  await subscriber.subscribe("news");
  const message = new Promise((resolve) => subscriber.on("message", (...channelAndText) => resolve(channelAndText)));
  await client.publish("news", "hello");
  show("message", await message);
  await subscriber.unsubscribe("news");
  subscriber.disconnect();
  show("error", await client.get("hash").catch((error) => error.message));
  show("renewal", await client.auth(target.username, target.renewal));
  show("after", await client.get("foo1"));
  await client.quit();
}

main().catch((error) => {
  show("failed", error.message);
  process.exit(1);
});

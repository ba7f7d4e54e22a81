const { readFileSync } = require("node:fs");
const { createClient } = require("redis");
const { field, large, script, show, target } = require("./steps.js");

async function main() {
  const client = createClient({
    RESP: target.protocol,
    username: target.username,
    password: target.password,
    socket: { host: target.host, port: target.port, tls: true, ca: readFileSync(target.ca), reconnectStrategy: false },
  });
  client.on("error", () => {}); // the command that fails says it too
  await client.connect();
  show("user", await client.aclWhoAmI());
  show("protocol", Number(field(await client.sendCommand(["HELLO"]), "proto")));
  show("set", await client.set("foo1", "bar1"));
  show("get", await client.get("foo1"));
  show("missing", await client.get("not_there"));
  await client.hSet("hash", { a: "1", b: "2" });
  show("hash", await client.hGetAll("hash"));
  await client.set("large", large);
  show("large", (await client.get("large")) === large);
  show("pipeline", await client.multi().set("p", 1).incr("p").get("p").execAsPipeline());
  show("transaction", await client.multi().set("t", 1).incr("t").get("t").exec());
  show("script", await client.eval(script, { keys: ["foo1"], arguments: ["argument"] }));
  const subscriber = client.duplicate();
  subscriber.on("error", () => {});
  await subscriber.connect();
  const message = new Promise((resolve) => subscriber.subscribe("news", (text, channel) => resolve([channel, text])).then(() => client.publish("news", "hello")));
  show("message", await message);
  await subscriber.unsubscribe("news");
  subscriber.destroy();
  show("error", await client.get("hash").catch((error) => error.message));
  show("renewal", await client.auth({ username: target.username, password: target.renewal }));
  show("after", await client.get("foo1"));
  await client.close();
}

main().catch((error) => {
  show("failed", error.message);
  process.exit(1);
});

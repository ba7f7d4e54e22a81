// Uses a cache as a cluster, with the library that the argument names: ioredis,
// node-redis or glide.
const { readFileSync } = require("node:fs");
const { show, target } = require("./steps.js");

const { host, port, username, password } = target;
const ca = readFileSync(target.ca);

const libraries = {
  ioredis: async () => {
    const { Cluster } = require("ioredis");
    const client = new Cluster([{ host, port }], { redisOptions: { username, password, tls: { ca } }, clusterRetryStrategy: null });
    client.on("error", () => {});
    return { nodes: () => client.nodes().length, do: (...words) => client.call(...words), end: () => client.quit() };
  },
  "node-redis": async () => {
    const { createCluster } = require("redis");
    const client = createCluster({ rootNodes: [{ socket: { host, port } }], defaults: { username, password, socket: { tls: true, ca } } });
    client.on("error", () => {});
    await client.connect();
    return { nodes: () => client.masters.length, do: (...words) => client.sendCommand(words[1], false, words), end: () => client.close() };
  },
  glide: async () => {
    const { GlideClusterClient, Logger } = require("@valkey/valkey-glide");
    Logger.init("error"); // it writes to the standard output
    const client = await GlideClusterClient.createClient({
      addresses: [{ host, port }],
      useTLS: true,
      advancedConfiguration: { tlsAdvancedConfiguration: { rootCertificates: ca }, connectionTimeout: 10000 },
      requestTimeout: 10000,
      credentials: { username, password },
    });
    const nodes = async () => (await client.customCommand(["CLUSTER", "SLOTS"])).length;
    return { nodes, do: (...words) => client.customCommand(words), end: () => client.close() };
  },
};

async function main([name]) {
  const client = await libraries[name]();
  let right = 0;
  for (let i = 0; i < 100; i++) {
    await client.do("SET", `key${i}`, `${i}`);
    if ((await client.do("GET", `key${i}`)) === `${i}`) right++;
  }
  show("right", right);
  show("nodes", await client.nodes());
  show("together", await client.do("MGET", "{t}a", "{t}b"));
  show("apart", await client.do("RENAME", "key1", "key2").catch((error) => /cross ?slot/i.test(error.message)));
  show("keys", await client.do("KEYS", "*").catch((error) => /unknown command 'keys'/i.test(error.message)));
  await client.end();
}

main(process.argv.slice(2)).catch((error) => {
  show("failed", error.message);
  process.exit(1);
});

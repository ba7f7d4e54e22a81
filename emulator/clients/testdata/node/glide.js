// Signs in with the IAM support that is built into GLIDE, which has none for
// serverless caches:
//
//	node glide.js SERVICE CACHE USER REGION
const { readFileSync } = require("node:fs");
const { GlideClient, ServiceType } = require("@valkey/valkey-glide");
const { show, target } = require("./steps.js");

async function main([service, cache, user, region]) {
  const client = await GlideClient.createClient({
    addresses: [{ host: target.host, port: target.port }],
    useTLS: true,
    advancedConfiguration: { tlsAdvancedConfiguration: { rootCertificates: readFileSync(target.ca) }, connectionTimeout: 10000 },
    requestTimeout: 10000,
    credentials: {
      username: user,
      iamConfig: { clusterName: cache, region, service: service === "memorydb" ? ServiceType.MemoryDB : ServiceType.Elasticache },
    },
  });
  show("set", await client.set("foo1", "bar1"));
  show("get", await client.get("foo1"));
  client.close();
}

main(process.argv.slice(2)).catch((error) => {
  show("failed", error.message);
  process.exit(1);
});

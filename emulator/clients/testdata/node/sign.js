// Prints a token signed by the AWS SDK for JavaScript:
//
//	node sign.js SERVICE CACHE USER REGION [serverless]
const { createHash, createHmac } = require("node:crypto");
const { SignatureV4 } = require("@smithy/signature-v4");

class Sha256 {
  constructor(key) {
    this.hash = key ? createHmac("sha256", key) : createHash("sha256");
  }
  update(data) {
    this.hash.update(data);
  }
  async digest() {
    return new Uint8Array(this.hash.digest());
  }
}

// sign makes a token as of now.
exports.sign = async ({ service, cache, user, region, credentials, serverless, now = new Date() }) => {
  const query = { Action: "connect", User: user };
  if (serverless) query.ResourceType = "ServerlessCache";
  const signer = new SignatureV4({ service, region, sha256: Sha256, credentials });
  const signed = await signer.presign(
    { method: "GET", protocol: "https:", hostname: cache, path: "/", query, headers: { host: cache } },
    { expiresIn: 900, signingDate: now },
  );
  const pairs = Object.entries(signed.query).map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(v)}`);
  return `${cache}/?${pairs.join("&")}`;
};

async function main([service, cache, user, region, kind]) {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = process.env;
  const credentials = { accessKeyId, secretAccessKey, sessionToken };
  console.log(await exports.sign({ service, cache, user, region, credentials, serverless: kind === "serverless" }));
}

if (require.main === module) main(process.argv.slice(2));

// What the programs in this folder share.

// Where to sign in, from the environment.
exports.target = {
  host: process.env.REDIS_HOST,
  port: Number(process.env.REDIS_PORT),
  ca: process.env.REDIS_CA,
  username: process.env.REDIS_USERNAME,
  password: process.env.REDIS_PASSWORD,
  renewal: process.env.REDIS_RENEWAL, // a second token
  protocol: Number(process.env.REDIS_PROTOCOL),
};

// More than a TLS record, and full of what a protocol by lines would stumble over.
exports.large = "\r\n\0+OK\r\n".repeat(100_000);

exports.script = "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}";

// show prints the outcome of a step.
exports.show = (step, value) => console.log(JSON.stringify({ step, value }));

// field finds a field of HELLO's reply, which is a list in RESP2 and may be a map
// in RESP3.
exports.field = (reply, name) => (Array.isArray(reply) ? reply[reply.indexOf(name) + 1] : reply instanceof Map ? reply.get(name) : reply[name]);

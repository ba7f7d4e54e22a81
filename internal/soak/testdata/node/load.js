// What the programs in this folder share. SOAK_NAME and SOAK_NEXT are the program and
// the one that it feeds. It prints what it has done, and ends when its standard input
// does.
const { createHash, randomBytes } = require("node:crypto");

const end = performance.now() + 1000 * Number(process.env.SOAK_SECONDS);
const counts = Object.fromEntries(["pipelines", "transactions", "elements", "messages", "scans", "large values"].map((load) => [load, 0]));

exports.name = process.env.SOAK_NAME;
exports.next = process.env.SOAK_NEXT;
exports.target = { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT), protocol: Number(process.env.REDIS_PROTOCOL) };
exports.script = "return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}";
exports.keys = Array.from({ length: 500 }, (_, i) => `scanned:${exports.name}:${i}`).sort();

exports.running = () => performance.now() < end;
const sleep = (exports.sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms)));
exports.pause = (most) => sleep(Math.random() * most);

const check = (exports.check = (what, got, want) => {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`${what} = ${String(g).slice(0, 300)}, want ${w.slice(0, 300)}`);
});

const done = (exports.done = (what) => (counts[what] = (counts[what] ?? 0) + 1));

// from is n numbers from the first.
exports.from = (first, n) => Array.from({ length: n }, (_, i) => first + i);

// large has values of 64 MiB set and read: for one program at a time, so that no
// transfer takes as long as a connection lives.
exports.large = async ({ take, set, get, release }) => {
  while ((await get(`ready:${exports.next}`)) === null) await sleep(10); // the machine is busy with programs that start
  while (exports.running() || counts["large values"] === 0) {
    if ((await take("turn", exports.name)) === null) {
      await exports.pause(200);
      continue;
    }
    const part = Buffer.alloc(2 << 20);
    randomBytes(1 << 20).copy(part);
    part.write("\r\n+OK\r\n", 1 << 20);
    const value = Buffer.concat(Array(32).fill(part));
    await set(`large:${exports.name}`, value);
    check("GET of 64 MiB", hash(await get(`large:${exports.name}`)), hash(value));
    await release("turn");
    done("large values");
    await sleep(3000);
  }
};
const hash = (value) => createHash("sha256").update(value).digest("hex");

// inbox keeps what comes until it is asked for.
exports.inbox = () => {
  const come = [];
  let give = (v) => come.push(v);
  return {
    put: (v) => give(v),
    get: () =>
      new Promise((resolve) => {
        if (come.length > 0) return resolve(come.shift());
        const lost = setTimeout(fail, 60_000, new Error("nothing comes for a minute"));
        give = (v) => {
          give = (next) => come.push(next);
          clearTimeout(lost);
          resolve(v);
        };
      }),
  };
};

// feed gives the next program numbered messages and elements of a list.
exports.feed = async ({ get, publish, push }) => {
  let listeners;
  while ((listeners = await get(`ready:${exports.next}`)) === null) await sleep(10);
  for (let n = 0; exports.running(); ) {
    check("PUBLISH", await publish(`news:${exports.next}`, String(n)), Number(listeners));
    await push(`jobs:${exports.next}`, String(n++));
    await sleep(n % 50 === 0 ? 1500 : 20);
  }
  await publish(`news:${exports.next}`, "end");
  await push(`jobs:${exports.next}`, "end");
};

// messages checks what is published for this program.
exports.messages = async (received) => {
  for (let n = 0; ; n++) {
    const text = await received.get();
    if (text === "end") return;
    check("message", text, String(n));
    done("messages");
  }
};

// elements checks what is put in the list for this program.
exports.elements = async (pop) => {
  for (let n = 0; ; ) {
    const element = await pop(`jobs:${exports.name}`, 1);
    if (element === null) continue;
    if (element === "end") return;
    check("BLPOP", element, String(n++));
    done("elements");
  }
};

function fail(error) {
  console.error(error);
  process.exit(1);
}

// run runs all loads. connections has the CLIENT ID of each, and a function that asks
// for it again.
exports.run = async (connections, loads) => {
  await Promise.all(loads.map((load) => load()));
  console.log(JSON.stringify({ connections: connections.length, ...counts }));
  for await (const _ of process.stdin);
  for (const { id, ask } of connections) check("CLIENT ID", Number(await ask()), Number(id));
  process.exit(0);
};
exports.main = (f) => f().catch(fail);
exports.fail = fail;

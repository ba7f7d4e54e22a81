# ruby-redis under load. SOAK_NAME and SOAK_NEXT are this program and the one that it
# feeds. It prints what it has done, and ends when its standard input does.
require "digest"
require "json"
require "redis"

NAME, NEXT = ENV["SOAK_NAME"], ENV["SOAK_NEXT"]
SCRIPT = "return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}"
FINISH = Process.clock_gettime(Process::CLOCK_MONOTONIC) + ENV["SOAK_SECONDS"].to_f
COUNTS = ["pipelines", "transactions", "elements", "messages", "scans", "large values"].to_h { |load| [load, 0] }
CONNECTIONS = [] # and the CLIENT ID of each

def running?
  Process.clock_gettime(Process::CLOCK_MONOTONIC) < FINISH
end

def check(what, got, want)
  raise "#{what} = #{got.inspect[0, 300]}, want #{want.inspect[0, 300]}" if got != want
end

def connect
  client = Redis.new(host: ENV["REDIS_HOST"], port: ENV["REDIS_PORT"].to_i, reconnect_attempts: 0, timeout: 60)
  CONNECTIONS << [client, client.call("CLIENT", "ID")]
  client
end

def counter
  client, n = connect, 0
  while running?
    check "INCR", client.incr("counter:#{NAME}"), n + 1
    got = client.pipelined { |batch| 20.times { batch.incr("counter:#{NAME}") } }
    check "pipeline", got, (n + 2..n + 21).to_a
    n += 21
    COUNTS["pipelines"] += 1
    sleep rand * 0.01
  end
end

def transactions
  client, other, key, n = connect, connect, "transaction:#{NAME}", 0
  while running?
    spoilt = rand < 0.3
    got = client.watch(key) do
      sleep rand * 0.3
      check "INCR", other.incr(key), n += 1 if spoilt
      client.multi { |transaction| transaction.incr(key) }
    end
    check "EXEC", got, spoilt ? nil : [n += 1]
    COUNTS["transactions"] += 1
  end
end

def queue
  client, n = connect, 0
  loop do
    _, element = client.blpop("jobs:#{NAME}", timeout: 1)
    next if element.nil?
    return if element == "end"
    check "BLPOP", element, n.to_s
    n += 1
    COUNTS["elements"] += 1
  end
end

# messages subscribes, and tells when that is done.
def messages(client, ready)
  n = 0
  client.subscribe("news:#{NAME}") do |on|
    on.subscribe { ready << true }
    on.message do |_, text|
      next client.unsubscribe if text == "end"
      check "message", text, n.to_s
      n += 1
      COUNTS["messages"] += 1
    end
  end
end

def feed
  client, n = connect, 0
  sleep 0.01 until (listeners = client.get("ready:#{NEXT}"))
  while running?
    check "PUBLISH", client.publish("news:#{NEXT}", n), listeners.to_i
    client.rpush("jobs:#{NEXT}", n)
    n += 1
    sleep(n % 50 == 0 ? 1.5 : 0.02)
  end
  client.publish("news:#{NEXT}", "end")
  client.rpush("jobs:#{NEXT}", "end")
end

def reads
  client, n = connect, 0
  keys = (0...500).map { |i| "scanned:#{NAME}:#{i}" }.sort
  client.mset(*keys.flat_map { |key| [key, "x"] })
  while running?
    check "SCAN", client.scan_each(match: "scanned:#{NAME}:*", count: 1000).to_a.uniq.sort, keys
    n += 1
    check "EVAL", client.eval(SCRIPT, keys: ["script:#{NAME}"], argv: [n]), ["script:#{NAME}", n.to_s, n]
    COUNTS["scans"] += 1
    sleep rand * 0.1
  end
end

# large is for one program at a time, so that no transfer takes as long as a connection
# lives.
def large
  client = connect
  sleep 0.01 until client.get("ready:#{NEXT}") # the machine is busy with programs that start
  while running? || COUNTS["large values"] == 0
    next sleep(rand * 0.2) unless client.set("turn", NAME, nx: true)
    value = (Random.bytes(1 << 20) + "\r\n+OK\r\n").ljust(2 << 20, "\0") * 32
    client.set("large:#{NAME}", value)
    want = Digest::SHA256.hexdigest(value)
    check "GET of 64 MiB", Digest::SHA256.hexdigest(client.get("large:#{NAME}")), want
    client.del("turn")
    COUNTS["large values"] += 1
    sleep 3
  end
end

Thread.abort_on_exception = true
$stdout.sync = true
connect # and leaves it idle
ready = Queue.new
subscriber = connect
threads = [Thread.new { messages(subscriber, ready) }]
ready.pop
connect.set("ready:#{NAME}", 1)
threads += %i[counter transactions queue feed reads large].map { |load| Thread.new { send(load) } }
threads.each(&:join)
puts JSON.generate({connections: CONNECTIONS.size, **COUNTS})
$stdin.read
CONNECTIONS.each { |client, before| check "CLIENT ID", client.call("CLIENT", "ID"), before }

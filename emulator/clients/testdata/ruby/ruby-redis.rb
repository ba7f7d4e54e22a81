require "json"
require "redis"

SCRIPT = "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}"
LARGE = "\r\n\0+OK\r\n" * 100_000

def show(step, value)
  puts JSON.generate({"step" => step, "value" => value})
end

def main
  options = {
    host: ENV["REDIS_HOST"], port: ENV["REDIS_PORT"].to_i, username: ENV["REDIS_USERNAME"], password: ENV["REDIS_PASSWORD"],
    ssl: true, ssl_params: {ca_file: ENV["REDIS_CA"]}, reconnect_attempts: 0
  }
  client = Redis.new(options)
  show "user", client.call("ACL", "WHOAMI")
  hello = client.call("HELLO")
  show "protocol", hello[hello.index("proto") + 1]
  show "set", client.set("foo1", "bar1")
  show "get", client.get("foo1")
  show "missing", client.get("not_there")
  client.hset("hash", "a", "1", "b", "2")
  show "hash", client.hgetall("hash")
  client.set("large", LARGE)
  show "large", client.get("large") == LARGE
  show "pipeline", client.pipelined { |batch| [batch.set("p", 1), batch.incr("p"), batch.get("p")] }
  show "transaction", client.multi { |batch| [batch.set("t", 1), batch.incr("t"), batch.get("t")] }
  show "script", client.eval(SCRIPT, keys: ["foo1"], argv: ["argument"])
  subscriber = Redis.new(options)
  subscriber.subscribe("news") do |on|
    on.subscribe { client.publish("news", "hello") }
    on.message do |channel, text|
      show "message", [channel, text]
      subscriber.unsubscribe("news")
    end
  end
  begin
    client.get("hash")
  rescue Redis::CommandError => error
    show "error", error.message
  end
  show "renewal", client.auth(ENV["REDIS_USERNAME"], ENV["REDIS_RENEWAL"])
  show "after", client.get("foo1")
end

begin
  main
rescue Redis::BaseError, OpenSSL::SSL::SSLError => error
  show "failed", error.message
  exit 1
end

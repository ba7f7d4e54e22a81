package clients_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
	"github.com/redis/go-redis/v9"
)

// goRedis does what the programs of the other libraries do.
func goRedis(t *testing.T, to target) (output string, ok bool) {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: to.srv.Cache(emulator.DefaultCache).Addr, TLSConfig: to.trusted.Cache(emulator.DefaultCache).TLS,
		Username: emulator.DefaultUser, Password: to.token, Protocol: to.protocol, MaxRetries: -1, DialerRetries: 1,
	})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return line("failed", err.Error()), false
	}
	var p printer
	p.data(ctx, client)
	p.batches(ctx, client)
	p.message(ctx, client)
	p.renewal(ctx, client, to.renewal)
	if p.err != nil {
		return p.printed.String() + line("failed", p.err.Error()), false
	}
	return p.printed.String(), true
}

// A printer prints steps until one fails.
type printer struct {
	printed strings.Builder
	err     error
}

// step takes the outcome of a step.
func (p *printer) step(name string) func(value any, err error) {
	return func(value any, err error) {
		if p.err == nil {
			p.err = err
		}
		if p.err == nil {
			p.printed.WriteString(line(name, value))
		}
	}
}

func (p *printer) data(ctx context.Context, client *redis.Client) {
	p.step("user")(client.Do(ctx, "ACL", "WHOAMI").Result())
	p.step("protocol")(protocol(client.Do(ctx, "HELLO").Result()))
	p.step("set")(client.Set(ctx, "foo1", "bar1", 0).Result())
	p.step("get")(client.Get(ctx, "foo1").Result())
	if err := client.Get(ctx, "not_there").Err(); errors.Is(err, redis.Nil) {
		p.step("missing")(nil, nil)
	}
	client.HSet(ctx, "hash", "a", "1", "b", "2")
	p.step("hash")(client.HGetAll(ctx, "hash").Result())
	large := strings.Repeat("\r\n\x00+OK\r\n", 100_000) // more than a TLS record, and full of line ends
	client.Set(ctx, "large", large, 0)
	got, err := client.Get(ctx, "large").Result()
	p.step("large")(got == large, err)
}

// protocol finds the version in HELLO's reply: a list in RESP2, a map in RESP3.
func protocol(reply any, err error) (any, error) {
	switch reply := reply.(type) {
	case []any:
		if i := slices.Index(reply, any("proto")); i >= 0 && i+1 < len(reply) {
			return reply[i+1], err
		}
	case map[any]any:
		return reply["proto"], err
	}
	return nil, errors.Join(err, errors.New("HELLO does not name the protocol"))
}

func (p *printer) batches(ctx context.Context, client *redis.Client) {
	batch := func(key string) func(redis.Pipeliner) error {
		return func(b redis.Pipeliner) error {
			b.Set(ctx, key, 1, 0)
			b.Incr(ctx, key)
			b.Get(ctx, key)
			return nil
		}
	}
	p.step("pipeline")(values(client.Pipelined(ctx, batch("p"))))
	p.step("transaction")(values(client.TxPipelined(ctx, batch("t"))))
	p.step("script")(client.Eval(ctx, "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}", []string{"foo1"}, "argument").Result())
}

func values(replies []redis.Cmder, err error) (any, error) {
	list := []any{}
	for _, reply := range replies {
		switch reply := reply.(type) {
		case *redis.IntCmd:
			list = append(list, reply.Val())
		case *redis.StatusCmd:
			list = append(list, reply.Val())
		case *redis.StringCmd:
			list = append(list, reply.Val())
		}
	}
	return list, err
}

func (p *printer) message(ctx context.Context, client *redis.Client) {
	subscriber := client.Subscribe(ctx, "news")
	defer subscriber.Close()
	if _, err := subscriber.Receive(ctx); err != nil { // the confirmation
		p.step("message")(nil, err)
		return
	}
	client.Publish(ctx, "news", "hello")
	message, err := subscriber.ReceiveMessage(ctx)
	if err != nil {
		p.step("message")(nil, err)
		return
	}
	p.step("message")([]string{message.Channel, message.Payload}, nil)
}

func (p *printer) renewal(ctx context.Context, client *redis.Client, token string) {
	if err := client.Get(ctx, "hash").Err(); err != nil {
		p.step("error")(err.Error(), nil)
	}
	conn := client.Conn()
	defer conn.Close()
	p.step("renewal")(conn.AuthACL(ctx, emulator.DefaultUser, token).Result())
	p.step("after")(conn.Get(ctx, "foo1").Result())
}

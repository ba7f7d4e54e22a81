package clients_test

import (
	"context"
	"errors"
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
	var p printer
	if err := client.Ping(ctx).Err(); err != nil {
		p.step("sign-in")(nil, err)
		return p.output()
	}
	p.data(ctx, client)
	p.batches(ctx, client)
	p.message(ctx, client)
	p.renewal(ctx, client, to.renewal)
	return p.output()
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
	large := strings.Repeat(lineEnds, 100_000)
	client.Set(ctx, "large", large, 0)
	got, err := client.Get(ctx, "large").Result()
	p.step("large")(got == large, err)
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
	p.step("script")(client.Eval(ctx, script, []string{"foo1"}, "argument").Result())
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

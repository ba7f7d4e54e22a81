package clients_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
	"github.com/rediam/rediam/emulator"
)

// redigo signs in with AUTH as it dials, and knows RESP2 only.
func redigo(t *testing.T, to target) (output string, ok bool) {
	t.Helper()
	pool := &redis.Pool{DialContext: to.dial}
	defer pool.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var p printer
	conn, err := pool.GetContext(ctx)
	if err != nil {
		p.step("sign-in")(nil, err)
		return p.output()
	}
	defer conn.Close()
	redigoData(&p, conn)
	redigoBatches(&p, conn)
	p.step("message")(redigoMessage(ctx, pool, conn))
	if _, err := conn.Do("GET", "hash"); err != nil {
		p.step("error")(err.Error(), nil)
	}
	p.step("renewal")(conn.Do("AUTH", emulator.DefaultUser, to.renewal))
	p.step("after")(redis.String(conn.Do("GET", "foo1")))
	return p.output()
}

func (to target) dial(ctx context.Context) (redis.Conn, error) {
	return redis.DialContext(ctx, "tcp", to.srv.Cache(emulator.DefaultCache).Addr,
		redis.DialUseTLS(true), redis.DialTLSConfig(to.trusted.Cache(emulator.DefaultCache).TLS),
		redis.DialUsername(emulator.DefaultUser), redis.DialPassword(to.token),
		redis.DialTLSHandshakeTimeout(patience), redis.DialReadTimeout(patience), redis.DialWriteTimeout(patience))
}

func redigoData(p *printer, conn redis.Conn) {
	p.step("user")(redis.String(conn.Do("ACL", "WHOAMI")))
	p.step("protocol")(protocol(texts(conn.Do("HELLO"))))
	p.step("set")(conn.Do("SET", "foo1", "bar1"))
	p.step("get")(redis.String(conn.Do("GET", "foo1")))
	if _, err := redis.String(conn.Do("GET", "not_there")); errors.Is(err, redis.ErrNil) {
		p.step("missing")(nil, nil)
	}
	conn.Do("HSET", "hash", "a", "1", "b", "2")
	p.step("hash")(redis.StringMap(conn.Do("HGETALL", "hash")))
	large := strings.Repeat(lineEnds, 100_000)
	conn.Do("SET", "large", large)
	got, err := redis.String(conn.Do("GET", "large"))
	p.step("large")(got == large, err)
}

func redigoBatches(p *printer, conn redis.Conn) {
	send := func(key string) {
		conn.Send("SET", key, 1)
		conn.Send("INCR", key)
		conn.Send("GET", key)
	}
	send("p")
	p.step("pipeline")(texts(conn.Do(""))) // sends nothing more, and receives everything
	conn.Send("MULTI")
	send("t")
	p.step("transaction")(texts(conn.Do("EXEC")))
	p.step("script")(texts(redis.NewScript(1, script).Do(conn, "foo1", "argument")))
}

func redigoMessage(ctx context.Context, pool *redis.Pool, conn redis.Conn) (any, error) {
	own, err := pool.GetContext(ctx)
	if err != nil {
		return nil, err
	}
	defer own.Close()
	subscriber := redis.PubSubConn{Conn: own}
	if err := subscriber.Subscribe("news"); err != nil {
		return nil, err
	}
	if err, failed := subscriber.ReceiveContext(ctx).(error); failed { // else it is the confirmation
		return nil, err
	}
	conn.Do("PUBLISH", "news", "hello")
	switch received := subscriber.ReceiveContext(ctx).(type) {
	case redis.Message:
		return []string{received.Channel, string(received.Data)}, nil
	case error:
		return nil, received
	}
	return nil, errors.New("something else than a message was received")
}

// texts are the elements of a list, with strings for the bytes that redigo gives.
func texts(reply any, err error) (any, error) {
	list, err := redis.Values(reply, err)
	for i, element := range list {
		if b, ok := element.([]byte); ok {
			list[i] = string(b)
		}
	}
	return list, err
}

package clients_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
	"github.com/valkey-io/valkey-go"
)

// valkeyGo signs in with HELLO in RESP3 and with AUTH in RESP2.
func valkeyGo(t *testing.T, to target) (output string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var p printer
	options := to.valkeyGo()
	options.DisableCache = true // the embedded engine does not track what clients cache
	client, err := valkey.NewClient(options)
	if err != nil {
		p.step("sign-in")(nil, err)
		return p.output()
	}
	defer client.Close()
	valkeyGoData(ctx, &p, client)
	valkeyGoBatches(ctx, &p, client)
	p.step("message")(valkeyGoMessage(ctx, client))
	if err := do(ctx, client, "GET", "hash").Error(); err != nil {
		p.step("error")(err.Error(), nil)
	}
	conn, release := client.Dedicate()
	defer release()
	p.step("renewal")(do(ctx, conn, "AUTH", emulator.DefaultUser, to.renewal).ToString())
	p.step("after")(do(ctx, conn, "GET", "foo1").ToString())
	return p.output()
}

func (to target) valkeyGo() valkey.ClientOption {
	return valkey.ClientOption{
		InitAddress: []string{to.srv.Cache(emulator.DefaultCache).Addr}, TLSConfig: to.trusted.Cache(emulator.DefaultCache).TLS,
		AuthCredentialsFn: func(valkey.AuthCredentialsContext) (valkey.AuthCredentials, error) {
			return valkey.AuthCredentials{Username: emulator.DefaultUser, Password: to.token}, nil
		},
		AlwaysRESP2: to.protocol == 2, ForceSingleClient: true, DisableRetry: true, Dialer: net.Dialer{Timeout: patience}, ConnWriteTimeout: patience,
	}
}

// do sends a command as it is.
func do(ctx context.Context, client valkey.CoreClient, words ...string) valkey.ValkeyResult {
	return client.Do(ctx, client.B().Arbitrary(words...).Build())
}

func valkeyGoData(ctx context.Context, p *printer, client valkey.Client) {
	p.step("user")(do(ctx, client, "ACL", "WHOAMI").ToString())
	p.step("protocol")(protocol(do(ctx, client, "HELLO").ToAny()))
	p.step("set")(do(ctx, client, "SET", "foo1", "bar1").ToString())
	p.step("get")(do(ctx, client, "GET", "foo1").ToString())
	if err := do(ctx, client, "GET", "not_there").Error(); valkey.IsValkeyNil(err) {
		p.step("missing")(nil, nil)
	}
	do(ctx, client, "HSET", "hash", "a", "1", "b", "2")
	p.step("hash")(do(ctx, client, "HGETALL", "hash").AsStrMap())
	large := strings.Repeat(lineEnds, 100_000)
	do(ctx, client, "SET", "large", large)
	got, err := do(ctx, client, "GET", "large").ToString()
	p.step("large")(got == large, err)
}

func valkeyGoBatches(ctx context.Context, p *printer, client valkey.Client) {
	b := client.B()
	batch := func(key string) valkey.Commands {
		return valkey.Commands{b.Set().Key(key).Value("1").Build(), b.Incr().Key(key).Build(), b.Get().Key(key).Build()}
	}
	list, problems := []any{}, []error{}
	for _, result := range client.DoMulti(ctx, batch("p")...) {
		value, err := result.ToAny()
		list, problems = append(list, value), append(problems, err)
	}
	p.step("pipeline")(list, errors.Join(problems...))
	conn, release := client.Dedicate()
	defer release()
	do(ctx, conn, "MULTI")
	conn.DoMulti(ctx, batch("t")...)
	p.step("transaction")(do(ctx, conn, "EXEC").ToAny())
	p.step("script")(valkey.NewLuaScript(script).Exec(ctx, client, []string{"foo1"}, []string{"argument"}).AsStrSlice())
}

func valkeyGoMessage(ctx context.Context, client valkey.Client) (any, error) {
	subscriber, release := client.Dedicate()
	defer release()
	messages := make(chan valkey.PubSubMessage, 1)
	lost := subscriber.SetPubSubHooks(valkey.PubSubHooks{OnMessage: func(m valkey.PubSubMessage) { messages <- m }})
	if err := subscriber.Do(ctx, client.B().Subscribe().Channel("news").Build()).Error(); err != nil { // nil is the confirmation
		return nil, err
	}
	do(ctx, client, "PUBLISH", "news", "hello")
	select {
	case message := <-messages:
		return []string{message.Channel, message.Message}, nil
	case err := <-lost:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestValkeyGoCachesWhatItHasReadUntilAnotherClientChangesIt(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		options := target{srv: srv, trusted: srv, token: token(t, srv), protocol: 3}.valkeyGo()
		invalidated := make(chan int, 1)
		options.OnInvalidations = func(keys []valkey.ValkeyMessage) {
			if len(keys) > 0 { // it is 0 when a connection ends
				invalidated <- len(keys)
			}
		}
		client, err := valkey.NewClient(options)
		if unable := errors.Is(err, valkey.ErrNoCache); unable != (engine == "embedded") {
			t.Fatalf("NewClient() = %v; the embedded engine alone does not track", err)
		} else if unable {
			return
		}
		must(t, err)
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		wants := func(want string, cached bool) {
			t.Helper()
			reply := client.DoCache(ctx, client.B().Get().Key("foo1").Cache(), time.Hour)
			if got, err := reply.ToString(); err != nil || got != want || reply.IsCacheHit() != cached {
				t.Fatalf("GET foo1 = %q, %v, from the cache: %v, want %q, %v", got, err, reply.IsCacheHit(), want, cached)
			}
		}
		must(t, do(ctx, client, "SET", "foo1", "bar0").Error())
		wants("bar0", false)
		wants("bar0", true)
		must(t, signIn(t, srv, token(t, srv))) // sets foo1
		select {
		case <-invalidated:
		case <-ctx.Done():
			t.Fatal("nothing was invalidated")
		}
		wants("bar1", false)
	})
}

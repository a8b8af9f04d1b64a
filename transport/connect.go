package transport

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// ConnectOptions say where NATS is and who connects.
type ConnectOptions struct {
	Servers string // comma-separated URLs; "" is nats.DefaultURL; unused with InProcess
	Name    string // shown by the server's connection list
	Creds   string // path of a credentials file; "" for none
	Extra   []nats.Option
	// InProcess, when set, is a server in this process: no socket is involved.
	InProcess nats.InProcessConnProvider
}

// Connect connects to NATS with the defaults that the rest of go-cluster relies on; Extra comes last and wins. The connection
// outlives any outage: it reconnects for ever, also to a server that refuses it for a while. The first connection must succeed, unless
// Extra says otherwise.
//
// Nothing is buffered while disconnected: a publish then fails at once, and cannot be stored later, after its caller was told
// that it failed and has decided otherwise. A peer that vanished without closing is noticed within six seconds, because a
// lease of seconds cannot wait for the library's minutes. Subjects are validated on each publish, which is the library's default.
func Connect(o ConnectOptions) (*nats.Conn, error) {
	servers := o.Servers
	if servers == "" {
		servers = nats.DefaultURL
	}
	options := []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 400*time.Millisecond),
		nats.Timeout(5 * time.Second),
	}
	if o.Creds != "" {
		options = append(options, nats.UserCredentials(o.Creds))
	}
	where := Redacted(servers)
	if o.InProcess != nil {
		options, where = append(options, nats.InProcessServer(o.InProcess)), "the server in this process"
	}
	nc, err := nats.Connect(servers, append(options, o.Extra...)...)
	if err != nil {
		if malformed := (*url.Error)(nil); errors.As(err, &malformed) { // it quotes what was given
			malformed.URL = Redacted(malformed.URL)
		}
		return nil, fmt.Errorf("connect %s to %s: %w", o.Name, where, err)
	}
	return nc, nil
}

// Redacted hides the passwords and tokens of a comma-separated list of URLs.
func Redacted(servers string) string {
	parts := strings.Split(servers, ",")
	for i, p := range parts {
		if at := strings.LastIndexByte(p, '@'); at >= 0 { // a password may have one too
			parts[i] = "…@" + p[at+1:]
		}
	}
	return strings.Join(parts, ",")
}

// flush waits until the server has everything that was sent so far.
func flush(nc *nats.Conn, most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

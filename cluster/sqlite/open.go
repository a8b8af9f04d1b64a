//go:build linux

package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/url"
	"path/filepath"
	"sync"

	modernc "modernc.org/sqlite"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/agent/litestream"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/cluster/internal/attach"
)

// ErrNotStored is what a commit returns that was made here and of which is not known whether it is stored elsewhere, too: its context ended while it
// waited for that, in the final phase of a move with cluster.MoveRequest.Sync. It is not undone, and only the loss of this node can take it.
var ErrNotStored = errors.New("it is committed on this node, and not known to be stored elsewhere")

// Open gives a singleton the database in that file of its data directory, made when it is first active, and returns it. Each connection
// begins with the pragmas, such as "foreign_keys(1)", after those of this package. It is called once, before Run; what is wrong with its
// arguments comes out of Register and Run.
func Open(app *cluster.Application, file string, pragmas ...string) *sql.DB {
	d := &database{app: app.Name(), file: file, pragmas: pragmas}
	app.Attach(attach.Data{What: "sqlite.Open", SQLite: "$GC_DATA_DIR/" + file, Around: d.around,
		Replication: func(c agent.Config) (agent.Replication, error) {
			return litestream.Over(c.Dial, c.Cluster, c.Log)
		}})
	return sql.OpenDB(d)
}

// database opens connections for as long as its app is active here. It implements driver.Connector.
type database struct {
	app, file string
	pragmas   []string

	mu   sync.Mutex
	term *term // nil while the app is not active here
}

// Driver implements driver.Connector.
func (d *database) Driver() driver.Driver { return &modernc.Driver{} }

// Connect implements driver.Connector.
func (d *database) Connect(ctx context.Context) (driver.Conn, error) {
	d.mu.Lock()
	t := d.term
	d.mu.Unlock()
	if t == nil {
		return nil, api.Refuse(api.CodeFenced, "%s: %s is not active on this node", d.file, d.app)
	}
	c, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// source is the file as the driver wants it named.
func (d *database) source(dir string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(5000)", "journal_mode(wal)", "synchronous(full)", "wal_autocheckpoint(0)"}, d.pragmas...)}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.Join(dir, d.file)}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// around opens the database before OnActive. It is closed with the gate.
func (d *database) around(code embedded.App) embedded.App {
	active := code.OnActive
	code.OnActive = func(ctx context.Context) error {
		if err := d.begin(ctx); err != nil || active == nil {
			return err
		}
		return active(ctx)
	}
	return code
}

// begin opens the database for the epoch of ctx, and makes sure that it is one. The connection that does so is the pool's first: a database
// that is closed by the last who has it open loses its log, and the next one would have to make that anew.
func (d *database) begin(ctx context.Context) error {
	here, _ := cluster.Where(ctx)
	raw, err := modernc.NewConnector(d.source(here.DataDir))
	if err != nil {
		return api.Refuse(api.CodeInvalid, "%s: %v", d.file, err)
	}
	t := newTerm(ctx, filepath.Join(here.DataDir, d.file), raw)
	if err := embedded.Hold(ctx, func() { d.end(t) }); err != nil {
		return err
	}
	c, err := t.connect(ctx)
	if err != nil {
		return api.Refuse(api.CodeFailed, "%s cannot be opened: %v", t.path, err)
	}
	t.keep(c)
	d.mu.Lock()
	d.term = t
	d.mu.Unlock()
	return nil
}

func (d *database) end(t *term) {
	t.end()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.term == t {
		d.term = nil
	}
}

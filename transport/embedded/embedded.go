// Package embedded runs a NATS server with JetStream inside the process: for a cluster on one machine, for development and for
// tests, which use it in virtual time as well.
package embedded

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Options are what a deployment chooses.
type Options struct {
	StoreDir string // required; belongs to this server alone
	Host     string // to listen on; "" is 127.0.0.1
	Port     int    // to listen on; -1 takes a free one; 0 listens nowhere: in-process connections only
	// SyncAlways has every write on disk before it is acknowledged. Without it a power failure loses up to two minutes of
	// acknowledged events; a killed process loses nothing either way.
	SyncAlways bool
	// MaxStore bounds what the streams take on disk, in bytes; 0 is four fifths of what the file system has for them now. A full
	// disk is worse than a full stream: the server stops answering until it is restarted.
	MaxStore int64
	Log      *zap.Logger // nil discards
}

// Server is a running server. It can be handed to nats.InProcessServer itself.
type Server struct {
	// InProcess connects without a socket.
	InProcess nats.InProcessConnProvider

	ns   *server.Server
	lock *os.File
	once sync.Once
}

// Start starts a server and returns when it takes connections and its streams are there. No two servers may share a store
// directory, since they would destroy it: it is locked, and the error names who holds it. A server leaves signals to the process.
func Start(o Options) (*Server, error) {
	s, err := start(o)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server in %s: %w", o.StoreDir, err)
	}
	return s, nil
}

func start(o Options) (*Server, error) {
	if o.StoreDir == "" {
		return nil, errors.New("a store directory is required") // the server's own default is lost at a reboot
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	lock, err := lockDir(o.StoreDir)
	if err != nil {
		return nil, err
	}
	maxStore := o.MaxStore
	if maxStore == 0 {
		if maxStore, err = storeLimit(o.StoreDir); err != nil {
			_ = lock.Close()
			return nil, err
		}
	}
	host := o.Host
	if host == "" {
		host = "127.0.0.1"
	}
	ns, err := server.NewServer(&server.Options{
		ServerName: "go-cluster-embedded", Host: host, Port: o.Port, DontListen: o.Port == 0, NoSigs: true,
		JetStream: true, StoreDir: filepath.Clean(o.StoreDir), SyncAlways: o.SyncAlways,
		JetStreamMaxStore: maxStore, JetStreamMaxMemory: 256 << 20,
	})
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	log := &logger{log: o.Log}
	ns.SetLoggerV2(log, false, false, false)
	s := &Server{InProcess: ns, ns: ns, lock: lock}
	ns.Start()
	if !ready(ns, log) {
		s.Shutdown()
		return nil, errors.Join(errors.New("did not get ready"), log.worst())
	}
	return s, nil
}

// ready waits for the server, which may have gigabytes to read, but not for one that has given up.
func ready(ns *server.Server, log *logger) bool {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && !log.gaveUp(); {
		if ns.ReadyForConnections(100 * time.Millisecond) {
			return ns.JetStreamEnabled()
		}
	}
	return false
}

// ClientURL returns where to connect, "" when the server listens nowhere.
func (s *Server) ClientURL() string {
	if s.ns.Addr() == nil {
		return ""
	}
	return s.ns.ClientURL()
}

// InProcessConn implements nats.InProcessConnProvider.
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// Shutdown stops the server, waits until its files are closed, and frees its directory. More calls do nothing.
func (s *Server) Shutdown() {
	s.once.Do(func() {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		_ = s.lock.Close()
	})
}

// RegisterBubble makes ready for a testing/synctest bubble with a server, or a client of one, in it. Call it outside of any bubble
// before each one, and after it where clients outside follow; bubbles cannot run in parallel. It deals with two things that would tie bubbles to each other:
//   - The server keeps one ticker per process for access times, started by the first store. Started inside a bubble it would wait
//     on a channel from outside, and the bubble's time would never move. It is started here, once.
//   - The client library keeps used timers in a pool (Flush and Drain take from it), and a timer of an earlier bubble ends the
//     process. Two garbage collections empty the pool.
//
// Everything that was started in a bubble, servers and connections, must be closed before its end.
func RegisterBubble() {
	ticker.Do(ats.Register)
	runtime.GC()
	runtime.GC()
}

var ticker sync.Once

package sim

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Noise is what a bad network does to single messages: to what is published and to what is delivered. The lines that hold a
// connection together pass.
type Noise struct {
	Lose, Repeat, Late int           // percent
	Delay              time.Duration // longest of what is late; later messages overtake it
	Seed               uint64
}

// noise carries a Noise out on one direction of one connection.
type noise struct {
	mu   sync.Mutex
	how  atomic.Pointer[Noise] // nil: all is well
	rnd  *rand.Rand
	rest []byte
	send func([]byte) // may be called later, and from several goroutines; takes whole lines and messages
}

// pass takes what is written and hands it on, or does not.
func (n *noise) pass(b []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rest = append(n.rest, b...)
	for {
		size, message := frame(n.rest)
		if size == 0 {
			return
		}
		f := bytes.Clone(n.rest[:size])
		n.rest = n.rest[size:]
		if how := n.how.Load(); message && how != nil {
			n.disturb(how, f)
		} else {
			n.send(f)
		}
	}
}

func newNoise(how *Noise, seed uint64, send func([]byte)) *noise {
	n := &noise{rnd: rand.New(rand.NewPCG(seed, how.Seed)), send: send}
	n.how.Store(how)
	return n
}

func (n *noise) disturb(how *Noise, f []byte) {
	switch roll := n.rnd.IntN(100); {
	case roll < how.Lose:
	case roll < how.Lose+how.Repeat:
		n.send(f)
		n.send(f)
	case roll < how.Lose+how.Repeat+how.Late:
		time.AfterFunc(time.Duration(1+n.rnd.Int64N(int64(how.Delay))), func() { n.send(f) })
	default:
		n.send(f)
	}
}

// frame returns the length of the first whole line, with its payload, of NATS's protocol, 0 when it is not whole yet.
func frame(b []byte) (size int, message bool) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return 0, false
	}
	size = end + 2
	verb, rest, _ := strings.Cut(string(b[:end]), " ")
	switch verb {
	case "PUB", "HPUB", "MSG", "HMSG":
		n, err := strconv.Atoi(rest[strings.LastIndexByte(rest, ' ')+1:])
		if err != nil || len(b) < size+n+2 {
			return 0, false
		}
		return size + n + 2, true
	}
	return size, false
}

package embedded

import (
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"
)

// logger gives the server's lines to zap and remembers the first error, which is the reason when the server does not start. The
// server's notices are one line per start and stream: information to us. A fatal line does not end the process.
type logger struct {
	log *zap.Logger

	mu    sync.Mutex
	first string
	fatal bool
}

func (l *logger) Noticef(f string, a ...any) { l.log.Info(fmt.Sprintf(f, a...)) }
func (l *logger) Warnf(f string, a ...any)   { l.log.Warn(fmt.Sprintf(f, a...)) }
func (l *logger) Debugf(f string, a ...any)  { l.log.Debug(fmt.Sprintf(f, a...)) }
func (l *logger) Tracef(f string, a ...any)  { l.log.Debug(fmt.Sprintf(f, a...)) }
func (l *logger) Errorf(f string, a ...any)  { l.failed(fmt.Sprintf(f, a...)) }
func (l *logger) Fatalf(f string, a ...any) {
	l.failed(fmt.Sprintf(f, a...))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = true
}

func (l *logger) gaveUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func (l *logger) failed(line string) {
	l.log.Error(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == "" {
		l.first = line
	}
}

func (l *logger) worst() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == "" {
		return nil
	}
	return errors.New(l.first)
}

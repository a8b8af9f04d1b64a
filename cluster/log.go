package cluster

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"

	"go.uber.org/zap/zapcore"
)

// handlerCore gives what the node logs to a slog handler.
type handlerCore struct{ slog.Handler }

var levels = map[zapcore.Level]slog.Level{zapcore.DebugLevel: slog.LevelDebug, zapcore.InfoLevel: slog.LevelInfo, zapcore.WarnLevel: slog.LevelWarn}

func levelOf(l zapcore.Level) slog.Level {
	if s, ok := levels[l]; ok {
		return s
	}
	return slog.LevelError
}

// Enabled implements zapcore.Core.
func (h handlerCore) Enabled(l zapcore.Level) bool {
	return h.Handler.Enabled(context.Background(), levelOf(l))
}

// With implements zapcore.Core.
func (h handlerCore) With(fields []zapcore.Field) zapcore.Core {
	return handlerCore{h.WithAttrs(attributes(fields))}
}

// Check implements zapcore.Core.
func (h handlerCore) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if h.Enabled(e.Level) {
		return c.AddCore(e, h)
	}
	return c
}

// Write implements zapcore.Core.
func (h handlerCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	r := slog.NewRecord(e.Time, levelOf(e.Level), e.Message, 0)
	r.AddAttrs(attributes(fields)...)
	return h.Handle(context.Background(), r)
}

// Sync implements zapcore.Core.
func (handlerCore) Sync() error { return nil }

func attributes(fields []zapcore.Field) []slog.Attr {
	m := zapcore.NewMapObjectEncoder()
	out := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		f.AddTo(m)
	}
	for _, f := range fields {
		if v, ok := m.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}

// version is that of this module as the program was built with it.
var version = sync.OnceValue(func() string {
	const path = "github.com/go-cluster/go-cluster"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Path == path && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == path {
			return d.Version
		}
	}
	return "unknown"
})

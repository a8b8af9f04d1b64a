package litestream

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
)

// bridge hands Litestream's warnings and errors on. What it says below that is about every file.
type bridge struct {
	log   *zap.Logger
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (bridge) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements slog.Handler.
func (b bridge) Handle(_ context.Context, r slog.Record) error {
	fields := make([]zap.Field, 0, len(b.attrs)+r.NumAttrs())
	for _, a := range b.attrs {
		fields = append(fields, zap.String(a.Key, a.Value.String()))
	}
	r.Attrs(func(a slog.Attr) bool {
		fields = append(fields, zap.String(a.Key, a.Value.String()))
		return true
	})
	if r.Level >= slog.LevelError {
		b.log.Error("litestream: "+r.Message, fields...)
	} else {
		b.log.Warn("litestream: "+r.Message, fields...)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (b bridge) WithAttrs(attrs []slog.Attr) slog.Handler {
	return bridge{b.log, append(b.attrs[:len(b.attrs):len(b.attrs)], attrs...)}
}

// WithGroup implements slog.Handler.
func (b bridge) WithGroup(string) slog.Handler { return b }

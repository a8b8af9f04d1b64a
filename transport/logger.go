package transport

import (
	"github.com/ThreeDotsLabs/watermill"
	"go.uber.org/zap"
)

// zapLogger gives Watermill's lines to zap. Its errors are handlings that will be repeated or were given up, hence warnings; its
// information is one line per message, hence for debugging.
type zapLogger struct{ log *zap.Logger }

func (l zapLogger) Error(msg string, err error, f watermill.LogFields) {
	l.log.Warn(msg, append(fields(f), zap.Error(err))...)
}
func (l zapLogger) Info(msg string, f watermill.LogFields)  { l.log.Debug(msg, fields(f)...) }
func (l zapLogger) Debug(msg string, f watermill.LogFields) { l.log.Debug(msg, fields(f)...) }
func (l zapLogger) Trace(string, watermill.LogFields)       {}
func (l zapLogger) With(f watermill.LogFields) watermill.LoggerAdapter {
	return zapLogger{l.log.With(fields(f)...)}
}

func fields(f watermill.LogFields) []zap.Field {
	out := make([]zap.Field, 0, len(f))
	for k, v := range f {
		out = append(out, zap.Any(k, v))
	}
	return out
}

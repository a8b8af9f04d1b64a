package main

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// LogFlags are what a long-running command says on stderr.
type LogFlags struct {
	LogLevel  zapcore.Level `default:"info" placeholder:"LEVEL" help:"Least level to log: debug, info, warn, error (default ${default})."`
	LogFormat string        `enum:"auto,text,json" default:"auto" placeholder:"FORMAT" help:"text, json, or auto: text on a terminal, else json (default ${default})."`
}

func (f LogFlags) logger(w io.Writer) *zap.Logger {
	return newLogger(w, f.LogLevel, f.LogFormat == "text" || f.LogFormat == "auto" && styleOf(w).terminal)
}

// newLogger writes lines for people, or for machines: JSON with UTC times.
func newLogger(w io.Writer, least zapcore.Level, people bool) *zap.Logger {
	var enc zapcore.Encoder
	if people {
		enc = zapcore.NewConsoleEncoder(zapcore.EncoderConfig{
			TimeKey: "t", LevelKey: "l", NameKey: "n", MessageKey: "m", ConsoleSeparator: "  ",
			EncodeTime: zapcore.TimeEncoderOfLayout("15:04:05.000"), EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeDuration: zapcore.StringDurationEncoder,
		})
	} else {
		enc = zapcore.NewJSONEncoder(zapcore.EncoderConfig{
			TimeKey: "time", LevelKey: "level", NameKey: "logger", MessageKey: "msg", LineEnding: zapcore.DefaultLineEnding,
			EncodeTime:  func(t time.Time, e zapcore.PrimitiveArrayEncoder) { e.AppendString(t.UTC().Format(time.RFC3339Nano)) },
			EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeDuration: zapcore.StringDurationEncoder,
		})
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), least))
}

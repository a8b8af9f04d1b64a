package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// style colours text for one writer, or leaves it plain.
type style struct {
	terminal bool
	colour   bool
}

func styleOf(w io.Writer) style {
	if r, is := w.(*results); is {
		w = r.Writer
	}
	f, isFile := w.(*os.File)
	terminal := isFile && term.IsTerminal(int(f.Fd()))
	return style{
		terminal: terminal,
		colour:   terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
	}
}

func (st style) paint(sgr, s string) string {
	if !st.colour || s == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

func (st style) good(s string) string  { return st.paint("32", s) }
func (st style) bad(s string) string   { return st.paint("1;31", s) }
func (st style) warn(s string) string  { return st.paint("33", s) }
func (st style) faint(s string) string { return st.paint("2", s) }
func (st style) bold(s string) string  { return st.paint("1", s) }

// tone says how much a word should worry the reader.
type tone int

const (
	plainTone tone = iota
	goodTone
	warnTone
	badTone
	faintTone
)

func (st style) tone(t tone, s string) string {
	switch t {
	case goodTone:
		return st.good(s)
	case warnTone:
		return st.warn(s)
	case badTone:
		return st.bad(s)
	case faintTone:
		return st.faint(s)
	}
	return s
}

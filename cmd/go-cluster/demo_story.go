//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// story is what the demo tells on stdout. It is safe for concurrent use.
type story struct {
	mu     sync.Mutex
	out    io.Writer
	st     style
	began  time.Time
	checks int
}

// failedCheck is a promise that was not kept.
type failedCheck struct {
	what, expected, seen string
	told                 bool // it has been printed
}

// Error implements error.
func (f *failedCheck) Error() string {
	return fmt.Sprintf("%s: expected %s, seen %s", f.what, f.expected, f.seen)
}

func newStory(s *session) *story { return &story{out: s.out, st: s.style, began: time.Now()} }

func (s *story) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format, args...)
}

func (s *story) opening() {
	s.printf("%s\n%s\n", s.st.bold("go-cluster demo"), s.st.faint("NATS, services, nodes and apps on this machine. Every command and every process below is real."))
}

func (s *story) act(n int, title string) {
	s.printf("\n%s\n", s.st.bold(fmt.Sprintf("%d. %s", n, title)))
}

// say is a sentence between the commands.
func (s *story) say(format string, args ...any) { s.printf("  "+format+"\n", args...) }

// typed is a line that a person would type.
func (s *story) typed(line string) { s.printf("  %s %s\n", s.st.faint("$"), s.st.bold(line)) }

// said is a line that something answered.
func (s *story) said(line string) { s.printf("      %s\n", line) }

// script is the lines of a script that a person would type.
func (s *story) script(lines ...string) {
	for i, line := range lines {
		prompt := "$"
		if i > 0 {
			prompt = ">"
		}
		s.printf("  %s %s\n", s.st.faint(prompt), s.st.bold(line))
	}
}

// spent closes a command. What took no time to speak of is not spoken of.
func (s *story) spent(code int, d time.Duration) {
	text := took(d)
	if code == exitDone && d < 50*time.Millisecond {
		return
	}
	if code != exitDone {
		text = fmt.Sprintf("exit %d after %s", code, text)
	}
	s.printf("      %s\n", s.st.faint(text))
}

func (s *story) held(what, seen string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks++
	if seen != "" {
		what += s.st.faint(": " + seen)
	}
	fmt.Fprintf(s.out, "  %s %s\n", s.st.good("✓"), what)
}

func (s *story) failed(f *failedCheck) {
	if f.told {
		return
	}
	f.told = true
	s.printf("  %s %s\n      expected: %s\n      seen:     %s\n\n%s\n", s.st.bad("✗"), f.what, f.expected, f.seen,
		s.st.bad(fmt.Sprintf("a check failed after %s; %d before it held", took(time.Since(s.began)), s.checks)))
}

func (s *story) closing(summary string) {
	s.printf("\n%s in %s: %s.\n", s.st.good(fmt.Sprintf("All %d checks held", s.checks)), took(time.Since(s.began)), summary)
}

// millisecond writes a span to the millisecond.
func millisecond(d time.Duration) string { return d.Round(time.Millisecond).String() }

func (s *story) kept(servers string) {
	s.printf("\nThe cluster runs on until Ctrl-C. In another terminal:\n  export NATS_URL=%s\n  go-cluster node list\n  go-cluster app move counter\n  go-cluster events -f -o table\n", servers)
}

// answers returns a writer for the output of a command: each line is indented and appears when it is whole. Close it for the last.
func (s *story) answers() *answerWriter { return &answerWriter{story: s} }

type answerWriter struct {
	story *story
	mu    sync.Mutex
	part  []byte // of a line
	all   bytes.Buffer
}

// Write implements io.Writer.
func (w *answerWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(p)
	w.part = append(w.part, p...)
	for {
		line, rest, whole := bytes.Cut(w.part, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		w.story.said(string(line))
		w.part = rest
	}
}

func (w *answerWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) > 0 {
		w.story.said(string(w.part))
		w.part = nil
	}
}

// text is everything written so far.
func (w *answerWriter) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(w.all.String())
}

package main

import (
	"bytes"
	"io"
	"regexp"
)

// terse passes lines on, without the whole text of a phase that the plugin
// quotes in front of every error of the phase.
type terse struct {
	w    io.Writer
	line []byte // what has come of a line that has not ended
}

var quoted = regexp.MustCompile(`: running "(?:[^"\\]|\\.)*":`)

func (t *terse) Write(p []byte) (int, error) {
	t.line = append(t.line, p...)
	end := bytes.LastIndexByte(t.line, '\n') + 1
	if end == 0 && len(bytes.Trim(t.line, "@ updating.")) == 0 {
		end = len(t.line) // the dots of progress are worth seeing at once
	}
	if _, err := t.w.Write(quoted.ReplaceAll(t.line[:end], []byte(":"))); err != nil {
		return 0, err
	}
	t.line = append(t.line[:0], t.line[end:]...)
	return len(p), nil
}

// Close passes on what is left.
func (t *terse) Close() error {
	_, err := t.w.Write(quoted.ReplaceAll(t.line, []byte(":")))
	t.line = nil
	return err
}

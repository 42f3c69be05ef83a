package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTerseLeavesOutThePhasesText(t *testing.T) {
	for _, size := range []int{1, 7, 1000} {
		var b strings.Builder
		w := &terse{w: &b}
		text := "..a line\n error: Process exited with status 1: running \"# web\\nsay \\\"hi\\\" \\\\\":\n error: why\nthe end"
		for len(text) > 0 {
			n := min(size, len(text))
			_, err := w.Write([]byte(text[:n]))
			assert.NoError(t, err)
			text = text[n:]
		}
		assert.NoError(t, w.Close())
		assert.Equal(t, "..a line\n error: Process exited with status 1:\n error: why\nthe end", b.String())
	}
}

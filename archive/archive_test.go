package archive

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParse(t *testing.T) {
	got := parse("Debian|Debian|main|http://a.example/debian/\nDebian|Debian-Security|main|http://s.example/sec/\nNode|Node|main|http://n.example/\nDebian|Debian|contrib|http://c.example/\n")
	assert.Equal(t, Sources{Main: "http://a.example/debian", Security: "http://s.example/sec"}, got)
}

func TestList(t *testing.T) {
	s := Sources{Main: "http://a.example/debian"}
	assert.Equal(t, "deb http://a.example/debian trixie main\ndeb http://a.example/debian trixie-updates main\n", s.List("trixie", ""))
	s.Security = "http://s.example/sec"
	assert.Contains(t, s.List("trixie", "signed-by=/k.gpg"), "deb [signed-by=/k.gpg] http://s.example/sec trixie-security main\n")
}

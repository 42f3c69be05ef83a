package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStandaloneNeedsNothing(t *testing.T) {
	t.Setenv("HOME", "/home/ann")
	t.Setenv("XDG_CONFIG_HOME", "")
	c, err := FromEnvironment(nil)
	require.NoError(t, err)
	assert.Equal(t, "/home/ann/.config/todo", c.Data)
	assert.Equal(t, "/home/ann/.config/todo/attachments", c.Attachments)
	assert.Equal(t, "http://127.0.0.1:8080", c.URL.String())
	assert.Empty(t, c.MetricsListen)
	assert.Zero(t, c.Drain)
	assert.False(t, c.Traces)
}

func production(more ...string) []string {
	return append([]string{"TODO_PROFILE=production", "TODO_URL=https://todo.example.org", "TODO_ATTACHMENTS=/attachments", "TODO_DATABASE_ADDRESS=galera:3306"}, more...)
}

func TestProduction(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(secret, []byte("pass word \n"), 0o600))
	c, err := FromEnvironment(production("TODO_DATABASE_PASSWORD_FILE="+secret, "TODO_DRAIN=10s", "TODO_TRUSTED_PROXIES=10.0.0.0/8,fd00::/8",
		"POD_NAME=todo-1", "NODE_NAME=worker1", "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318", "TODO_SERVICE_HOST=10.96.0.7"))
	require.NoError(t, err)
	assert.Equal(t, Database{Address: "galera:3306", Name: "todo", User: "todo", Password: "pass word "}, c.Database)
	assert.Equal(t, ":8080", c.Listen)
	assert.Equal(t, ":9090", c.MetricsListen)
	assert.Equal(t, 10*time.Second, c.Drain)
	assert.Zero(t, c.SweepEvery)
	assert.Equal(t, "json", c.LogFormat)
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, c.TrustedProxies)
	assert.Equal(t, "todo-1", c.Pod)
	assert.True(t, c.Traces)
}

func TestEverythingWrongIsReported(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		says    []string
	}{
		"profile":  {[]string{"TODO_PROFILE=prod"}, []string{`"prod" is no profile`}},
		"missing":  {[]string{"TODO_PROFILE=production"}, []string{"TODO_URL: is missing", "TODO_ATTACHMENTS: is missing", "TODO_DATABASE_ADDRESS"}},
		"both":     {production("TODO_DATABASE_PASSWORD=x", "TODO_DATABASE_PASSWORD_FILE=/y"), []string{"both set"}},
		"no file":  {production("TODO_DATABASE_PASSWORD_FILE=/no/such/file"), []string{"TODO_DATABASE_PASSWORD_FILE", "name a file that can be read"}},
		"numbers":  {[]string{"TODO_UPLOAD_LIMIT=0", "TODO_THUMBNAIL_MEMORY=-1", "TODO_SHUTDOWN=0s"}, []string{"TODO_UPLOAD_LIMIT", "TODO_THUMBNAIL_MEMORY", "TODO_SHUTDOWN"}},
		"no time":  {[]string{"TODO_DRAIN=soon"}, []string{"soon"}},
		"no net":   {[]string{"TODO_TRUSTED_PROXIES=proxy"}, []string{"proxy"}},
		"listen":   {[]string{"TODO_LISTEN=8080"}, []string{`"8080" is not host:port`}},
		"url":      {[]string{"TODO_URL=todo.example.org/app"}, []string{"TODO_URL"}},
		"log":      {[]string{"TODO_LOG_FORMAT=xml"}, []string{`"xml"; use json or text`}},
		"too many": {[]string{"TODO_LOG_FORMAT=xml", "TODO_DRAIN=soon", "TODO_LISTEN=x"}, []string{"xml", "soon", `"x"`}},
	} {
		_, err := FromEnvironment(c.environ)
		for _, text := range c.says {
			assert.ErrorContains(t, err, text, name)
		}
	}
}

// The manual's table has every setting, and no other.
func TestTheManualHasEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../../docs/todo.md")
	require.NoError(t, err)
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1])
	}
	var settings []string
	for _, of := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Database]()} {
		for i := range of.NumField() {
			if name := of.Field(i).Tag.Get("env"); strings.Contains(name, "_") {
				settings = append(settings, name)
			}
		}
	}
	require.ElementsMatch(t, append(settings, "OTEL_EXPORTER_OTLP_ENDPOINT"), documented)
}

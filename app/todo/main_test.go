package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// free is an address that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// get is what an address answers; an empty text means nothing.
func get(url string) (status int, body string) {
	answer, err := http.Get(url)
	if err != nil {
		return 0, ""
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.Body.Close() != nil {
		return 0, ""
	}
	return answer.StatusCode, string(text)
}

// The process from its start to its end: it migrates, answers, says that it is
// not ready before it stops to answer, and gives its traces away.
func TestServe(t *testing.T) {
	traces := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		traces <- r.URL.Path + string(body)
	}))
	defer collector.Close()
	pages, inside, data := free(t), free(t), t.TempDir()
	for name, value := range map[string]string{
		"TODO_LISTEN": pages, "TODO_METRICS_LISTEN": inside, "TODO_DATA": data, "TODO_DRAIN": "5s",
		"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_EXPORTER_OTLP_COMPRESSION": "none", "POD_NAME": "todo-7",
	} {
		t.Setenv(name, value)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, nil) }()
	is := func(url string, want int) func() bool {
		return func() bool { status, _ := get(url); return status == want }
	}
	require.Eventually(t, is("http://"+pages+"/readyz", http.StatusOK), 20*time.Second, 10*time.Millisecond)
	_, page := get("http://" + pages + "/")
	require.Contains(t, page, "todo-7")
	_, metrics := get("http://" + inside + "/metrics")
	for _, name := range []string{`todo_http_requests_total{code="200",route="GET /{$}"} 1`, "todo_database_retries_total 0", "go_sql_open_connections", "process_open_fds"} {
		require.Contains(t, metrics, name)
	}
	require.True(t, is("http://"+pages+"/metrics", http.StatusNotFound)(), "not where people are")

	cancel()
	require.Eventually(t, is("http://"+inside+"/readyz", http.StatusServiceUnavailable), 10*time.Second, 5*time.Millisecond)
	require.True(t, is("http://"+pages+"/", http.StatusOK)(), "it goes on answering while others notice")
	require.NoError(t, <-ended)
	require.True(t, is("http://"+pages+"/", 0)())
	trace := <-traces
	require.True(t, strings.HasPrefix(trace, "/v1/traces"), trace)
	require.Contains(t, trace, "todo-7")
	require.Contains(t, trace, "GET /{$}")
	require.NotContains(t, trace, "/readyz")
}

func TestMigrateAndSweep(t *testing.T) {
	data := t.TempDir()
	t.Setenv("TODO_DATA", data)
	for range 2 {
		require.NoError(t, run(t.Context(), []string{"migrate"}))
	}
	old := filepath.Join(data, "attachments", "ef", strings.Repeat("a", 36)+"-ef")
	require.NoError(t, os.MkdirAll(filepath.Dir(old), 0o700))
	require.NoError(t, os.WriteFile(old, nil, 0o600))
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-48*time.Hour)))
	require.NoError(t, run(t.Context(), []string{"sweep"}))
	require.NoFileExists(t, old)
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"serve", "now"}} {
		require.EqualError(t, run(t.Context(), args), usage)
	}
	t.Setenv("TODO_PROFILE", "production")
	require.ErrorContains(t, run(t.Context(), []string{"migrate"}), "TODO_DATABASE_ADDRESS")
}

// A port that is taken is said before anything else goes on.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	t.Setenv("TODO_LISTEN", l.Addr().String())
	t.Setenv("TODO_DATA", t.TempDir())
	require.ErrorContains(t, run(t.Context(), nil), "choose another port with TODO_LISTEN")
}

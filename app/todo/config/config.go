// Package config reads the settings of the application from the environment.
// It knows what each setting means and what it is when nobody says; it opens
// nothing. docs/todo.md has the same settings as a table.
package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Profile is a set of defaults.
type Profile string

// The two ways in which the application runs.
const (
	// Standalone is one process with its database in one file.
	Standalone Profile = "standalone"
	// Production is any number of processes that share a MariaDB and a volume.
	Production Profile = "production"
)

// Config is all that can be set. A variable NAME is also read from the file
// that NAME_FILE names, so that no secret has to stand in the environment.
type Config struct {
	// Profile is standalone (the default) or production.
	Profile Profile `env:"TODO_PROFILE"`
	// Listen is where pages are served: 127.0.0.1:8080, in production :8080.
	Listen string `env:"TODO_LISTEN"`
	// MetricsListen is where /metrics is served, in production :9090. Empty
	// means beside the pages, which suits a process that only its user reaches.
	MetricsListen string `env:"TODO_METRICS_LISTEN"`
	// URL is how people reach the application. https makes its cookies
	// secure. Required in production; else http at Listen.
	URL *url.URL `env:"TODO_URL"`
	// Data is the folder of the database file and of the attachments. Used by
	// standalone; by default todo in the user's folder for application data.
	Data string `env:"TODO_DATA"`
	// Attachments is the folder of attached files: the shared volume in
	// production, where it is required; else attachments below Data.
	Attachments string `env:"TODO_ATTACHMENTS"`

	Database Database

	// UploadLimit is the most that one attached file may have, in MiB.
	UploadLimit int64 `env:"TODO_UPLOAD_LIMIT"`
	// ThumbnailMemory is what making one thumbnail may need, in MiB. A larger
	// picture is kept, and shown without one.
	ThumbnailMemory int64 `env:"TODO_THUMBNAIL_MEMORY"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed, with
	// commas. By default nobody is.
	TrustedProxies []netip.Prefix `env:"TODO_TRUSTED_PROXIES"`

	// Drain is how long the process goes on serving after it was told to end,
	// saying that it is not ready: 5s in production, else nothing.
	Drain time.Duration `env:"TODO_DRAIN"`
	// Shutdown is how long requests that run then, uploads among them, have to
	// finish.
	Shutdown time.Duration `env:"TODO_SHUTDOWN"`
	// SweepEvery is the time between removals of what nobody refers to: files
	// without a row, sessions that ended. 1h; in production 0, which is never:
	// a CronJob runs `todo sweep`.
	SweepEvery time.Duration `env:"TODO_SWEEP_EVERY"`

	// LogFormat is text, in production json.
	LogFormat string `env:"TODO_LOG_FORMAT"`

	// Pod and Node are shown in the footer, where they are known.
	Pod  string `env:"POD_NAME"`
	Node string `env:"NODE_NAME"`

	// Traces tells that an OTLP endpoint is set; the exporter reads it itself.
	Traces bool `env:"-"`
}

// Database is where the MariaDB of production is.
type Database struct {
	// Address is host:port. Required.
	Address string `env:"TODO_DATABASE_ADDRESS"`
	// Name is the database, todo.
	Name string `env:"TODO_DATABASE_NAME"`
	// User is who signs in there, todo.
	User string `env:"TODO_DATABASE_USER"`
	// Password is the user's.
	Password string `env:"TODO_DATABASE_PASSWORD"`
	// CA is a file of certificates. Where it is named the connection is
	// encrypted, and the server has to show a certificate of theirs.
	CA string `env:"TODO_DATABASE_CA"`
	// SyncWait has each read wait until the Galera node has applied what was
	// committed before it. Off: one node takes all writes and reads.
	SyncWait bool `env:"TODO_DATABASE_SYNC_WAIT"`
}

// FromEnvironment reads the settings. The error tells of everything that is
// wrong with them.
func FromEnvironment(environ []string) (Config, error) {
	vars, problems := withFiles(environ)
	c := defaults(Profile(vars["TODO_PROFILE"]))
	if err := env.ParseWithOptions(&c, env.Options{Environment: vars}); err != nil {
		var all env.AggregateError
		if errors.As(err, &all) {
			problems = append(problems, all.Errors...)
		} else {
			problems = append(problems, err)
		}
	}
	c.Traces = vars["OTEL_EXPORTER_OTLP_ENDPOINT"] != "" || vars["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] != ""
	problems = append(problems, c.complete()...)
	if len(problems) > 0 {
		return Config{}, fmt.Errorf("the environment: %w", errors.Join(problems...))
	}
	return c, nil
}

// withFiles is the environment with the text of NAME_FILE's file as NAME.
func withFiles(environ []string) (vars map[string]string, problems []error) {
	vars = map[string]string{}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		vars[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		target, found := strings.CutSuffix(name, "_FILE")
		if !found || !strings.HasPrefix(name, "TODO_") {
			continue
		}
		if vars[target] != "" {
			problems = append(problems, fmt.Errorf("%s and %s are both set; keep one", target, name))
			continue
		}
		text, err := os.ReadFile(vars[name])
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w; name a file that can be read", name, err))
			continue
		}
		vars[target] = strings.TrimRight(string(text), "\r\n")
	}
	return vars, problems
}

func defaults(profile Profile) Config {
	c := Config{
		Profile:         Standalone,
		Listen:          "127.0.0.1:8080",
		Database:        Database{Name: "todo", User: "todo"},
		UploadLimit:     20,
		ThumbnailMemory: 192,
		Shutdown:        time.Minute,
		SweepEvery:      time.Hour,
		LogFormat:       "text",
	}
	if profile == Production {
		c.Listen = ":8080"
		c.MetricsListen = ":9090"
		c.Drain = 5 * time.Second
		c.SweepEvery = 0
		c.LogFormat = "json"
	}
	return c
}

// complete fills in what follows from other settings and says what is wrong.
func (c *Config) complete() (problems []error) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch c.Profile {
	case Standalone:
		if c.Data == "" {
			base, err := os.UserConfigDir()
			if err != nil {
				wrong("TODO_DATA: %w; name a folder", err)
			}
			c.Data = filepath.Join(base, "todo")
		}
		if c.Attachments == "" {
			c.Attachments = filepath.Join(c.Data, "attachments")
		}
	case Production:
		if c.URL == nil {
			wrong("TODO_URL: is missing; say how people reach the application, like https://todo.example.org")
		}
		if c.Attachments == "" {
			wrong("TODO_ATTACHMENTS: is missing; name the folder of the shared volume")
		}
		if _, _, err := net.SplitHostPort(c.Database.Address); err != nil {
			wrong("TODO_DATABASE_ADDRESS: %q is not host:port; say where MariaDB is", c.Database.Address)
		}
	default:
		wrong("TODO_PROFILE: %q is no profile; use standalone or production", c.Profile)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		wrong("TODO_LISTEN: %q is not host:port", c.Listen)
	}
	if c.URL == nil {
		c.URL = &url.URL{Scheme: "http", Host: c.Listen}
	}
	if (c.URL.Scheme != "http" && c.URL.Scheme != "https") || c.URL.Host == "" || strings.Trim(c.URL.Path, "/") != "" {
		wrong("TODO_URL: %q; use http or https and a host, without a path", c.URL)
	}
	if c.UploadLimit < 1 {
		wrong("TODO_UPLOAD_LIMIT: %d; use at least 1 MiB", c.UploadLimit)
	}
	if c.ThumbnailMemory < 0 {
		wrong("TODO_THUMBNAIL_MEMORY: %d; use 0 for no thumbnails", c.ThumbnailMemory)
	}
	if c.Drain < 0 || c.Shutdown <= 0 || c.SweepEvery < 0 {
		wrong("TODO_DRAIN, TODO_SHUTDOWN, TODO_SWEEP_EVERY: a time is negative, or there is none to shut down in")
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		wrong("TODO_LOG_FORMAT: %q; use json or text", c.LogFormat)
	}
	return problems
}

// Package web serves the application's pages. A request passes, in this order,
// what measures it (observe.go), what protects its person (protect.go), and a
// handler, which asks the store and the files and fills in a template. Pages
// work without JavaScript; there is none.
package web

import (
	"context"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/halinux/halinux/app/todo/files"
	"github.com/halinux/halinux/app/todo/locale"
	"github.com/halinux/halinux/app/todo/password"
	"github.com/halinux/halinux/app/todo/store"
)

// Options are what the pages need.
type Options struct {
	Store   *store.Store
	Files   *files.Folder
	Hasher  *password.Hasher
	Log     *slog.Logger
	Metrics prometheus.Registerer

	URL            *url.URL       // how people reach the application; https makes cookies secure
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Pod, Node      string         // shown in the footer, where they are known
}

// App answers requests.
type App struct {
	Options
	locales   *locale.Bundle
	templates map[string]*template.Template
	static    map[string]asset
	metrics   metrics
	draining  atomic.Bool
	pageSize  int
	bodyPause time.Duration // how long a request's body may bring nothing
}

// New prepares the pages.
func New(o Options) (*App, error) {
	locales, err := locale.Load()
	if err != nil {
		return nil, err
	}
	templates, err := parseTemplates()
	if err != nil {
		return nil, err
	}
	static, err := loadAssets()
	if err != nil {
		return nil, err
	}
	return &App{
		Options: o, locales: locales, templates: templates, static: static, metrics: newMetrics(o.Metrics, o.Store),
		pageSize: 20, bodyPause: 30 * time.Second,
	}, nil
}

// Drain says from now on that the application is not ready, so that whoever
// sends it requests stops. It goes on answering.
func (a *App) Drain() { a.draining.Store(true) }

// Handler is everything that people reach.
func (a *App) Handler() http.Handler {
	mux := http.NewServeMux()
	anybody := func(pattern string, h func(*call) error) { mux.Handle(pattern, a.page(h, false)) }
	signedIn := func(pattern string, h func(*call) error) { mux.Handle(pattern, a.page(h, true)) }

	anybody("GET /{$}", a.home)
	anybody("GET /sign-up", a.signUpForm)
	anybody("POST /sign-up", a.signUp)
	anybody("GET /sign-in", a.signInForm)
	anybody("POST /sign-in", a.signIn)
	anybody("POST /sign-out", a.signOut)
	anybody("POST /language", a.language)
	anybody("/", func(*call) error { return store.ErrNotFound })

	signedIn("GET /account", a.account)
	signedIn("POST /account", a.changePassword)
	signedIn("GET /lists", a.lists)
	signedIn("POST /lists", a.createList)
	signedIn("GET /lists/{id}", a.list)
	signedIn("POST /lists/{id}", a.updateList)
	signedIn("GET /lists/{id}/edit", a.editList)
	signedIn("POST /lists/{id}/delete", a.deleteList)
	signedIn("POST /lists/{id}/items", a.createItem)
	signedIn("GET /items/{id}", a.item)
	signedIn("POST /items/{id}", a.updateItem)
	signedIn("POST /items/{id}/done", a.setDone)
	signedIn("GET /items/{id}/delete", a.confirmDeleteItem)
	signedIn("POST /items/{id}/delete", a.deleteItem)
	signedIn("POST /items/{id}/attachments", a.attach)
	signedIn("GET /attachments/{id}", a.attachment)
	signedIn("GET /attachments/{id}/thumbnail", a.thumbnail)
	signedIn("POST /attachments/{id}/delete", a.deleteAttachment)
	signedIn("GET /search", a.search)

	mux.HandleFunc("GET /static/{name}", a.asset)
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, a.static["icon.svg"].path, http.StatusMovedPermanently)
	})
	mux.HandleFunc("GET /healthz", a.Healthz)
	mux.HandleFunc("GET /readyz", a.Readyz)
	return a.observe(a.protect(mux))
}

// Healthz says that the process lives. It asks nobody: a database that is away
// is no reason to start anew.
func (a *App) Healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readyWithin is how long database and volume may take to answer a probe.
const readyWithin = 2 * time.Second

// Readyz says whether requests can be answered.
func (a *App) Readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	err := errors.New("the process is ending")
	if !a.draining.Load() {
		err = errors.Join(a.Store.Ready(ctx), a.Files.Ready(ctx))
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		a.Log.WarnContext(r.Context(), "not ready", "error", err)
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// away says whether an error means that the database or the volume is out of
// reach for now: the same request later may succeed.
func away(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// gone says whether there is nothing under an address, for this person.
func gone(err error) bool { return errors.Is(err, store.ErrNotFound) || errors.Is(err, fs.ErrNotExist) }

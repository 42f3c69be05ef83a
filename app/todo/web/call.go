package web

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/halinux/halinux/app/todo/locale"
	"github.com/halinux/halinux/app/todo/store"
)

// call is one request for a page, and what is known of who sent it.
type call struct {
	*http.Request
	app    *App
	w      http.ResponseWriter
	Locale locale.Locale
	User   store.User // the zero User where nobody is signed in
	token  []byte     // of the session
}

// page makes a handler of a function. Somebody who has to be signed in and is
// not is sent to do so, and comes back.
func (a *App) page(h func(*call) error, signedIn bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chosen := ""
		if cookie, err := r.Cookie(languageCookie); err == nil {
			chosen = cookie.Value
		}
		c := &call{Request: r, app: a, w: w, Locale: a.locales.Match(chosen, r.Header.Get("Accept-Language"))}
		w.Header().Set("Vary", "Accept-Language, Cookie")
		w.Header().Set("Cache-Control", "no-store")
		err := c.readForm()
		if err == nil {
			err = a.authenticate(c)
		}
		if err == nil && signedIn && c.User.ID == "" {
			err = c.askToSignIn()
		} else if err == nil {
			err = h(c)
		}
		if err != nil {
			c.fail(err)
		}
	})
}

// readForm reads a form, but one with a file, which its handler reads as it
// comes in. What cannot be read of it is not there.
func (c *call) readForm() error {
	err := c.ParseForm()
	if errors.As(err, new(*http.MaxBytesError)) {
		return err
	}
	return nil
}

// askToSignIn keeps where a person wanted to go, as far as going there changes
// nothing.
func (c *call) askToSignIn() error {
	to := "/sign-in"
	if c.Method == http.MethodGet {
		to += "?next=" + template.URLQueryEscaper(c.URL.RequestURI())
	}
	return c.redirect(to)
}

// redirect sends the browser to another page of ours, which it then gets.
func (c *call) redirect(to string) error {
	http.Redirect(c.w, c.Request, to, http.StatusSeeOther)
	return nil
}

// localPath is an address of ours that came from outside, or another one.
func localPath(path, otherwise string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return otherwise
	}
	return path
}

// number is a page's number in the address.
func (c *call) number() int {
	n, err := strconv.Atoi(c.FormValue("page"))
	if err != nil {
		return 1
	}
	return n
}

func (c *call) pageOf() store.Page { return store.Page{Number: c.number(), Size: c.app.pageSize} }

// line is a field of one line, without blanks around it.
func (c *call) line(field string) string {
	return strings.TrimSpace(strings.Join(strings.Fields(c.FormValue(field)), " "))
}

// text is a field of many lines. Browsers send CR LF.
func (c *call) text(field string) string {
	return strings.TrimSpace(strings.ReplaceAll(c.FormValue(field), "\r\n", "\n"))
}

// newID is the id that a form brings for what it makes: sent twice, it makes
// one thing.
func (c *call) newID() string {
	if id := c.FormValue("id"); store.ValidID(id) {
		return id
	}
	return store.NewID()
}

// view is what every template gets.
type view struct {
	*call
	Page     string // the template, like lists
	Title    string
	Notice   string // a text about what was done
	Problems []problem
	Refresh  int // seconds after which the browser asks again; 0 means never
	Body     any
}

// problem is something wrong with a field.
type problem struct {
	Field string // the field's name and id
	Text  string
}

// Problem is what is wrong with a field; empty means nothing.
func (v view) Problem(field string) string {
	for _, p := range v.Problems {
		if p.Field == field {
			return p.Text
		}
	}
	return ""
}

// T is a text in the person's language.
func (v view) T(id string, pairs ...any) string { return v.Locale.T(id, pairs...) }

// Locales are the languages there are.
func (v view) Locales() []locale.Locale { return v.app.locales.All() }

// Asset is the address of a file of ours.
func (v view) Asset(name string) string { return v.app.static[name].path }

// NewID is for a form that makes something.
func (v view) NewID() string { return store.NewID() }

// Here is the address of this page, for forms that come back to it.
func (v view) Here() string {
	if v.Method != http.MethodGet {
		return "/"
	}
	return v.URL.RequestURI()
}

// Query is what is searched for.
func (v view) Query() string {
	if v.Page != "search" {
		return ""
	}
	return v.FormValue("q")
}

// Overdue says whether an item should have been done before today, as the
// server's day is.
func (v view) Overdue(i store.Item) bool { return !i.Done && i.Due != "" && i.Due < day(0) }

// Due is when an item is due, in words.
func (v view) Due(i store.Item) string {
	for days, id := range map[int]string{-1: "due.yesterday", 0: "due.today", 1: "due.tomorrow"} {
		if i.Due == day(days) {
			return v.T(id)
		}
	}
	return v.T("due.on", "Date", v.Locale.Date(i.Due))
}

// day is the day so many days from now, like 2026-11-22.
func day(days int) string { return time.Now().AddDate(0, 0, days).Format(time.DateOnly) }

// Done is how many items of a list are done.
func (v view) Done(l store.List) int { return l.Total - l.Open }

// hostName is what an edge may call itself.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$`)

// Answered says who took part in answering, as far as that is known.
func (v view) Answered() (out []named) {
	edge := v.Header.Get("X-Edge")
	if !hostName.MatchString(edge) {
		edge = ""
	}
	for _, n := range []named{{"footer.edge", edge}, {"footer.node", v.app.Node}, {"footer.pod", v.app.Pod}} {
		if n.Name != "" {
			out = append(out, n)
		}
	}
	return out
}

type named struct{ Label, Name string }

// render writes a page. It is filled in whole before the first byte is sent,
// so that an error is never half a page.
func (c *call) render(status int, v view) error {
	v.call = c
	if v.Notice == "" {
		v.Notice = c.takeNotice()
	}
	t, ok := c.app.templates[v.Page]
	if !ok {
		return fmt.Errorf("there is no page %s", v.Page)
	}
	var page bytes.Buffer
	if err := t.ExecuteTemplate(&page, "layout.html", v); err != nil {
		return fmt.Errorf("the page %s: %w", v.Page, err)
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.Header().Set("Content-Language", c.Locale.Tag)
	c.w.WriteHeader(status)
	_, _ = page.WriteTo(c.w)
	return nil
}

// ok renders a page that is what was asked for.
func (c *call) ok(page, title string, body any) error {
	return c.render(http.StatusOK, view{Page: page, Title: title, Body: body})
}

// invalid renders a form again, with what is wrong.
func (c *call) invalid(page, title string, body any, problems []problem) error {
	return c.render(http.StatusUnprocessableEntity, view{Page: page, Title: title, Body: body, Problems: problems})
}

// retryAfter is what a person, or a program, is asked to wait while database
// or volume move, in seconds.
const retryAfter = 5

// fail answers with an error's page.
func (c *call) fail(err error) {
	status, kind, refresh := http.StatusInternalServerError, "error", 0
	var tooLarge *http.MaxBytesError
	switch {
	case c.Context().Err() != nil:
		return // nobody waits for an answer any more
	case gone(err):
		status, kind = http.StatusNotFound, "missing"
	case errors.As(err, &tooLarge):
		status, kind = http.StatusRequestEntityTooLarge, "large"
	case errors.Is(err, errTooMany):
		status, kind = http.StatusTooManyRequests, "many"
		c.w.Header().Set("Retry-After", strconv.Itoa(int(attemptWindow.Seconds())))
	case away(err):
		status, kind = http.StatusServiceUnavailable, "away"
		c.w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		if c.Method == http.MethodGet {
			refresh = retryAfter
		}
	}
	if status >= http.StatusInternalServerError {
		c.app.Log.ErrorContext(c.Context(), "a request failed", "method", c.Method, "path", c.URL.Path, "status", status, "error", err)
	}
	if err := c.render(status, view{Page: "error", Title: c.Locale.T("error." + kind), Refresh: refresh, Body: kind}); err != nil {
		c.app.Log.ErrorContext(c.Context(), "the page of an error failed", "error", err)
		http.Error(c.w, http.StatusText(status), status)
	}
}

package web

import (
	"bytes"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/halinux/halinux/app/todo/files"
	"github.com/halinux/halinux/app/todo/password"
	"github.com/halinux/halinux/app/todo/store"
)

// site is the application as people reach it, on a database of its own.
type site struct {
	*App
	server *httptest.Server
	folder string
}

func newSite(t *testing.T, change ...func(*Options)) *site {
	t.Helper()
	dir := t.TempDir()
	s, err := store.OpenSQLite(filepath.Join(dir, "todo.db"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	_, err = s.Migrate(t.Context())
	require.NoError(t, err)
	folder, err := files.Open(filepath.Join(dir, "attachments"), files.Limits{Size: 1 << 20, ThumbnailMemory: 64 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, folder.Close()) })
	o := Options{
		Store: s, Files: folder, Hasher: password.New(password.Cost{Memory: 64, Time: 1}),
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), URL: &url.URL{Scheme: "http", Host: "todo.test"},
	}
	for _, f := range change {
		f(&o)
	}
	app, err := New(o)
	require.NoError(t, err)
	return &site{app, newServer(t, app.Handler()), filepath.Join(dir, "attachments")}
}

func newServer(t *testing.T, h http.Handler) *httptest.Server {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// person uses the site as a browser without JavaScript does: by addresses,
// links and forms that are on the page. Each page is checked for what keeps
// people with a screen reader or a keyboard from using it.
type person struct {
	t      *testing.T
	site   *site
	client *http.Client
	lang   string

	status int
	header http.Header
	at     *url.URL
	raw    string
	page   *html.Node
}

func (s *site) person(t *testing.T) *person {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &person{t: t, site: s, client: &http.Client{Jar: jar}, lang: "en"}
}

// signUp is a person with an account.
func (s *site) signUp(t *testing.T, name string) *person {
	p := s.person(t)
	p.visit("/sign-up")
	p.submit("/sign-up", "name", name, "password", "a good password")
	require.Equal(t, "/lists", p.at.Path, p.raw)
	return p
}

func (p *person) do(r *http.Request) {
	p.t.Helper()
	r.Header.Set("Accept-Language", p.lang)
	answer, err := p.client.Do(r)
	require.NoError(p.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(p.t, err)
	p.status, p.header, p.at, p.raw, p.page = answer.StatusCode, answer.Header, answer.Request.URL, string(body), nil
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
		p.page, err = html.Parse(bytes.NewReader(body))
		require.NoError(p.t, err)
		checkAccessible(p.t, p.at.Path, p.page)
	}
}

func (p *person) visit(path string) {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodGet, p.site.server.URL+path, nil)
	require.NoError(p.t, err)
	p.do(r)
}

// form finds the form with an action on the page, and what it sends when
// nothing is filled in.
func (p *person) form(action string) (*html.Node, url.Values) {
	p.t.Helper()
	require.NotNil(p.t, p.page, "there is no page to find a form on")
	for n := range p.page.Descendants() {
		if n.Data != "form" || attribute(n, "action") != action {
			continue
		}
		values := url.Values{}
		for field := range n.Descendants() {
			name := attribute(field, "name")
			switch {
			case name == "":
			case field.Data == "textarea":
				values.Set(name, textOf(field))
			case field.Data == "button", field.Data == "input" && attribute(field, "type") == "checkbox" && !has(field, "checked"):
				// Sent only when pressed or ticked.
			case field.Data == "input":
				values.Set(name, attribute(field, "value"))
			}
		}
		return n, values
	}
	require.Fail(p.t, "the page has no form "+action, p.raw)
	return nil, nil
}

// submit fills in the form with an action and sends it.
func (p *person) submit(action string, pairs ...string) {
	p.t.Helper()
	_, values := p.form(action)
	p.send(action, values, pairs...)
}

func (p *person) send(action string, values url.Values, pairs ...string) {
	p.t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, p.site.server.URL+action, strings.NewReader(values.Encode()))
	require.NoError(p.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	p.do(r)
}

// attach sends the form for files.
func (p *person) attach(name string, content []byte) {
	p.t.Helper()
	form, values := p.form(p.at.Path + "/attachments")
	require.Equal(p.t, "multipart/form-data", attribute(form, "enctype"))
	p.upload(p.at.Path+"/attachments", values.Get("id"), name, content)
}

func (p *person) upload(action, id, name string, content []byte) {
	p.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	require.NoError(p.t, w.WriteField("id", id))
	file, err := w.CreateFormFile("file", name)
	require.NoError(p.t, err)
	_, err = file.Write(content)
	require.NoError(p.t, err)
	require.NoError(p.t, w.Close())
	r, err := http.NewRequest(http.MethodPost, p.site.server.URL+action, &body)
	require.NoError(p.t, err)
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	p.do(r)
}

// link is the address of the link with a text.
func (p *person) link(text string) string {
	p.t.Helper()
	for n := range p.page.Descendants() {
		if n.Data == "a" && strings.Contains(textOf(n), text) {
			return attribute(n, "href")
		}
	}
	require.Fail(p.t, "the page has no link "+text, p.raw)
	return ""
}

func (p *person) follow(text string) {
	p.t.Helper()
	p.visit(p.link(text))
}

// sees says whether the page's main part has a text.
func (p *person) sees(text string) bool {
	for n := range p.page.Descendants() {
		if n.Data == "main" {
			return strings.Contains(textOf(n), text)
		}
	}
	return false
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func textOf(n *html.Node) string {
	var b strings.Builder
	if n.Type == html.TextNode {
		b.WriteString(n.Data)
	}
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// checkAccessible looks for what can be seen in the markup alone.
func checkAccessible(t *testing.T, path string, page *html.Node) {
	t.Helper()
	wrong := func(format string, args ...any) { assert.Failf(t, "not accessible: "+path, format, args...) }
	ids, labelled, hidden := map[string]bool{}, map[string]bool{}, map[*html.Node]bool{}
	count := map[string]int{}
	heading := 0
	for n := range page.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		count[n.Data]++
		hidden[n] = hidden[n.Parent] || attribute(n, "aria-hidden") == "true"
		if id := attribute(n, "id"); id != "" {
			if ids[id] {
				wrong("the id %s is there twice", id)
			}
			ids[id] = true
		}
		if n.Data == "label" {
			labelled[attribute(n, "for")] = true
		}
		if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' {
			level := int(n.Data[1] - '0')
			if n.Data != "h1" && level > heading+1 && heading != 0 {
				wrong("a heading of level %d follows one of level %d", level, heading)
			}
			heading = level
			if textOf(n) == "" {
				wrong("an empty heading")
			}
		}
		if has(n, "style") || slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return strings.HasPrefix(a.Key, "on") }) {
			wrong("%s has what the content security policy refuses", n.Data)
		}
	}
	for n := range page.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "html":
			if attribute(n, "lang") == "" {
				wrong("the page has no language")
			}
		case "title":
			if textOf(n) == "" {
				wrong("the page has no title")
			}
		case "img":
			if !has(n, "alt") {
				wrong("a picture without a text: %s", attribute(n, "src"))
			}
		case "button", "a", "summary":
			if textOf(n) == "" && attribute(n, "aria-label") == "" {
				wrong("%s %s without a name", n.Data, attribute(n, "href"))
			}
		case "input", "textarea":
			if attribute(n, "type") != "hidden" && !hidden[n] && !labelled[attribute(n, "id")] {
				wrong("the field %s has no label", attribute(n, "name"))
			}
		case "script":
			wrong("a script: pages work without")
		}
		for _, reference := range []string{"for", "aria-describedby", "aria-labelledby"} {
			for _, id := range strings.Fields(attribute(n, reference)) {
				if !ids[id] {
					wrong("%s of %s names %s, which is not there", reference, n.Data, id)
				}
			}
		}
		if href := attribute(n, "href"); len(href) > 1 && href[0] == '#' && !ids[href[1:]] {
			wrong("a link leads to %s, which is not there", href)
		}
	}
	for _, name := range []string{"main", "header", "footer", "h1"} {
		if count[name] != 1 {
			wrong("%d %s, not one", count[name], name)
		}
	}
	// The first thing that the Tab key reaches leads past the navigation.
	for n := range page.Descendants() {
		if n.Type == html.ElementNode && (n.Data == "a" || n.Data == "button") {
			if attribute(n, "href") != "#main" {
				wrong("the page does not begin with a link to its content")
			}
			break
		}
	}
}

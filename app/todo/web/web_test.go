package web

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/app/todo/store"
)

func picture(t *testing.T, w, h int) []byte {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, w, h))
	for x := range w {
		for y := range h {
			p.Set(x, y, color.RGBA{uint8(x), uint8(y), 120, 255})
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, p))
	return b.Bytes()
}

// One person's way from the first page to the last.
func TestAWholeVisit(t *testing.T) {
	s := newSite(t)
	p := s.person(t)
	p.visit("/")
	p.follow("Sign up")
	p.submit("/sign-up", "name", "Zoé", "password", "short")
	require.Equal(t, http.StatusUnprocessableEntity, p.status)
	require.True(t, p.sees("Choose a password of 10 to 256 characters"), p.raw)
	p.submit("/sign-up", "name", "Zoé", "password", "correct horse")
	require.Equal(t, "/lists", p.at.Path)
	require.True(t, p.sees("Welcome! Your account is ready."))

	p.submit("/lists", "title", "  ")
	require.True(t, p.sees("Enter a title"))
	p.submit("/lists", "title", "Brittany <b>")
	require.True(t, p.sees("Brittany <b>"))
	list := p.at.Path
	p.submit(list+"/items", "title", "Book the ferry", "due", "tomorrow")
	require.True(t, p.sees("Enter the date as"))
	p.submit(list+"/items", "title", "Book the ferry", "due", "2026-07-14")
	require.True(t, p.sees("14 July 2026"))
	require.True(t, p.sees("1 open item"), p.raw)

	p.follow("Book the ferry")
	item := p.at.Path
	p.attach("côte.png", picture(t, 900, 300))
	require.True(t, p.sees("The file has been attached."), p.raw)
	require.True(t, p.sees("côte.png"))
	require.Contains(t, p.raw, `width="480" height="160"`)
	file := p.link("côte.png")
	p.submit(item, "notes", "the night crossing\r\nwith a cabin", "title", "Book the ferry to Roscoff")
	require.True(t, p.sees("The item has been saved."), p.raw)

	p.visit(file)
	require.Equal(t, picture(t, 900, 300), []byte(p.raw))
	assert.Equal(t, "image/png", p.header.Get("Content-Type"))
	assert.Equal(t, "nosniff", p.header.Get("X-Content-Type-Options"))
	assert.Equal(t, `inline; filename*=utf-8''c%C3%B4te.png`, p.header.Get("Content-Disposition"))
	assert.Contains(t, p.header.Get("Content-Security-Policy"), "sandbox")
	p.visit(file + "/thumbnail")
	small, err := jpeg.Decode(strings.NewReader(p.raw))
	require.NoError(t, err)
	assert.Equal(t, image.Rect(0, 0, 480, 160), small.Bounds())

	// Searching knows neither case nor accents, in texts and names of files.
	for query, found := range map[string]bool{"ROSCOFF crossing": true, "cote ferry": true, "milk": false, "100%": false, "_": false} {
		p.visit("/search?q=" + strings.ReplaceAll(strings.ReplaceAll(query, "%", "%25"), " ", "+"))
		assert.Equal(t, found, p.sees("Book the ferry to Roscoff"), query)
	}

	p.visit(list)
	p.submit(item+"/done", "done", "yes")
	require.Equal(t, list, p.at.Path)
	require.True(t, p.sees("all done"))
	p.submit(item + "/done")
	require.True(t, p.sees("1 open item"))

	p.submit("/language", "language", "fr")
	require.True(t, p.sees("1 élément à faire"), p.raw)
	require.True(t, p.sees("14 juillet 2026"))
	p.submit("/language", "language", "en")

	p.visit(item)
	p.submit(file + "/delete")
	require.True(t, p.sees("No files yet."))
	p.follow("Delete this item")
	p.submit(item + "/delete")
	require.Equal(t, list, p.at.Path)
	p.follow("Rename or delete")
	p.submit(list, "title", "Bretagne")
	require.True(t, p.sees("Bretagne"))
	p.follow("Rename or delete")
	p.submit(list + "/delete")
	require.True(t, p.sees("You have no list yet"))

	p.visit("/account")
	p.submit("/account", "password", "wrong", "new-password", "short")
	require.True(t, p.sees("This is not your present password"))
	p.submit("/account", "password", "correct horse", "new-password", "battery staple")
	require.True(t, p.sees("Your password has been changed."), p.raw)

	p.submit("/sign-out")
	require.True(t, p.sees("You are signed out."))
	p.visit(list)
	require.Equal(t, "/sign-in", p.at.Path, "and comes back after")
	require.Equal(t, "next="+strings.ReplaceAll(list, "/", "%2F"), p.at.RawQuery)
	p.submit("/sign-in", "name", "ZOE", "password", "battery staple")
	require.Equal(t, http.StatusNotFound, p.status, "the list is deleted")
	require.Equal(t, list, p.at.Path)
}

// Nobody reaches what belongs to somebody else.
func TestOthersSeeNothing(t *testing.T) {
	s := newSite(t)
	p := s.signUp(t, "ann")
	p.submit("/lists", "title", "Ann's")
	list := p.at.Path
	p.submit(list+"/items", "title", "secret")
	p.follow("secret")
	item := p.at.Path
	p.attach("a.txt", []byte("secret text"))
	file := p.link("a.txt")
	_, fields := p.form(item)

	other := s.signUp(t, "bob")
	stranger := s.person(t)
	for _, path := range []string{list, list + "/edit", item, item + "/delete", file, file + "/thumbnail"} {
		other.visit(path)
		assert.Equal(t, http.StatusNotFound, other.status, path)
		assert.NotContains(t, other.raw, "secret")
		stranger.visit(path)
		assert.Equal(t, "/sign-in", stranger.at.Path, path)
	}
	other.visit("/search?q=secret")
	assert.True(t, other.sees("0 items"), other.raw)
	for _, path := range []string{list, list + "/items", item, item + "/done"} {
		other.send(path, fields, "title", "stolen", "done", "yes")
		assert.Equal(t, http.StatusNotFound, other.status, path)
	}
	other.upload(item+"/attachments", store.NewID(), "b.txt", []byte("b"))
	assert.Equal(t, http.StatusNotFound, other.status)
	for _, path := range []string{file, item, list} {
		other.send(path+"/delete", fields)
		p.visit(path)
		assert.Equal(t, http.StatusOK, p.status, path)
	}
	p.visit(item)
	assert.True(t, p.sees("secret"))
	assert.True(t, p.sees("a.txt"))
}

// Two windows change one item: both versions are shown, nothing is lost.
func TestConcurrentEditIsShown(t *testing.T) {
	s := newSite(t)
	p := s.signUp(t, "ann")
	p.submit("/lists", "title", "list")
	list := p.at.Path
	p.submit(list+"/items", "title", "Bread")
	p.follow("Bread")
	item := p.at.Path
	_, first := p.form(item)

	p.send(item, first, "title", "White bread", "notes", "from the other window")
	require.Equal(t, list, p.at.Path)
	p.send(item, first, "title", "Brown bread", "notes", "mine")
	require.Equal(t, http.StatusConflict, p.status)
	for _, text := range []string{"White bread", "from the other window", "This was changed meanwhile"} {
		require.True(t, p.sees(text), text)
	}
	_, mine := p.form(item)
	require.Equal(t, "Brown bread", mine.Get("title"))
	require.Equal(t, "mine", mine.Get("notes"))
	p.submit(item)
	require.True(t, p.sees("Brown bread"), "who saw both may choose")

	// The same form sent twice, since its answer was lost, is no conflict.
	p.visit(item)
	_, again := p.form(item)
	p.send(item, again, "title", "Rye bread")
	p.send(item, again, "title", "Rye bread")
	require.Equal(t, http.StatusOK, p.status)
	require.True(t, p.sees("Rye bread"))

	// Marking as done takes nothing from somebody who writes.
	p.visit(item)
	_, writing := p.form(item)
	p.visit(list)
	p.submit(item+"/done", "done", "yes")
	p.send(item, writing, "notes", "written meanwhile")
	require.Equal(t, http.StatusConflict, p.status)
	require.Contains(t, p.raw, "<mark>yes</mark>")

	p.send(item+"/delete", writing)
	p.send(item, writing, "notes", "still here")
	require.Equal(t, http.StatusConflict, p.status)
	require.True(t, p.sees("This was deleted meanwhile"))
	p.submit(list + "/items")
	p.follow("Rye bread")
	require.True(t, p.sees("still here"))

	p.visit(list + "/edit")
	_, rename := p.form(list)
	p.send(list, rename, "title", "one")
	p.send(list, rename, "title", "two")
	require.Equal(t, http.StatusConflict, p.status)
	require.True(t, p.sees("renamed to “one” meanwhile"))
	p.submit(list)
	require.True(t, p.sees("two"))
}

// A form that is sent again, since its answer was lost, makes one thing.
func TestFormsMayBeSentAgain(t *testing.T) {
	s := newSite(t)
	p := s.person(t)
	p.visit("/sign-up")
	_, form := p.form("/sign-up")
	for range 2 {
		p.send("/sign-up", form, "name", "ann", "password", "a good password")
		require.Equal(t, "/lists", p.at.Path, p.raw)
	}
	stranger := s.person(t)
	stranger.send("/sign-up", form, "name", "ann", "password", "another password")
	require.True(t, stranger.sees("Somebody has this name already"), "the id alone opens nothing")

	_, form = p.form("/lists")
	p.send("/lists", form, "title", "one")
	list := p.at.Path
	p.send("/lists", form, "title", "one")
	require.Equal(t, list, p.at.Path)
	p.send("/lists", form, "title", "two")
	require.NotEqual(t, list, p.at.Path, "the form from the browser's history, filled in anew")

	p.visit(list)
	_, form = p.form(list + "/items")
	for _, title := range []string{"milk", "milk", "bread"} {
		p.send(list+"/items", form, "title", title)
	}
	require.True(t, p.sees("2 open items"))

	p.follow("milk")
	_, form = p.form(p.at.Path + "/attachments")
	action := p.at.Path + "/attachments"
	for _, text := range []string{"one", "one", "two"} {
		p.upload(action, form.Get("id"), "a.txt", []byte(text))
		require.Equal(t, http.StatusOK, p.status, p.raw)
	}
	require.Equal(t, 2, strings.Count(p.raw, `class="name">a.txt`))
	require.Len(t, s.files(t), 2, "and nothing half received is left")
}

// files are those in the folder of attachments.
func (s *site) files(t *testing.T) (names []string) {
	require.NoError(t, filepath.WalkDir(s.folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	}))
	return names
}

func TestWhatIsNotTaken(t *testing.T) {
	s := newSite(t)
	p := s.signUp(t, "ann")
	p.submit("/lists", "title", "list")
	p.submit(p.at.Path+"/items", "title", "item")
	p.follow("item")
	item := p.at.Path
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"page.png": {[]byte("<!DOCTYPE html><script>alert(1)</script>"), "Files of this type are not taken"},
		"a.svg":    {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`), "Files of this type are not taken"},
		"run.txt":  {[]byte("\x7fELF\x02\x01\x01\x00"), "Files of this type are not taken"},
		"none.txt": {nil, "The file is empty"},
		"big.txt":  {bytes.Repeat([]byte("text "), 300_000), "The file is larger than 1 MiB"},
		"huge.txt": {bytes.Repeat([]byte("text "), 1_000_000), "The file is larger than 1 MiB"},
	} {
		p.visit(item)
		p.attach(name, c.content)
		assert.Equal(t, http.StatusUnprocessableEntity, p.status, name)
		assert.True(t, p.sees(c.says), "%s: %s", name, p.raw)
	}
	p.visit(item)
	p.submit(item + "/attachments")
	require.True(t, p.sees("Choose a file"))
	require.Empty(t, s.files(t))

	// A picture that cannot be decoded is a file like any other.
	p.visit(item)
	p.attach(`C:\pictures\half.png`, picture(t, 50, 50)[:100])
	require.True(t, p.sees("half.png"))
	require.False(t, p.sees("C:"))
	p.visit(p.link("half.png") + "/thumbnail")
	require.Equal(t, http.StatusNotFound, p.status)
}

func TestOtherSitesCannotAct(t *testing.T) {
	s := newSite(t)
	p := s.signUp(t, "ann")
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"} {
		r, err := http.NewRequest(http.MethodPost, s.server.URL+"/lists", strings.NewReader("title=x"))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(name, value)
		answer, err := p.client.Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.Equal(t, http.StatusForbidden, answer.StatusCode, name)
	}
	p.visit("/lists")
	require.True(t, p.sees("You have no list yet"))

	for _, next := range []string{"//evil.test", `/\evil.test`, "https://evil.test/"} {
		q := s.person(t)
		q.visit("/sign-in")
		q.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		q.submit("/sign-in", "name", "ann", "password", "a good password", "next", next)
		assert.Equal(t, "/lists", q.header.Get("Location"), next)
	}
}

func TestCookies(t *testing.T) {
	s := newSite(t, func(o *Options) { o.URL.Scheme = "https" })
	p := s.person(t)
	p.visit("/sign-up")
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p.submit("/sign-up", "name", "ann", "password", "a good password")
	cookie := p.header.Get("Set-Cookie")
	for _, want := range []string{"__Host-session=", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"} {
		assert.Contains(t, cookie, want)
	}
	assert.NotContains(t, cookie, "Domain")
}

func TestGuessingIsLimited(t *testing.T) {
	s := newSite(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	s.signUp(t, "ann")
	from := func(address string) *person {
		p := s.person(t)
		p.client.Transport = headers{"X-Forwarded-For": "10.9.9.9, " + address}
		p.visit("/sign-in")
		return p
	}
	guess := from("198.51.100.7")
	for range 5 {
		guess.submit("/sign-in", "name", "ann", "password", "a bad guess")
		require.Equal(t, http.StatusUnprocessableEntity, guess.status)
	}
	_, form := guess.form("/sign-in")
	guess.send("/sign-in", form, "name", "Ann", "password", "a good password")
	require.Equal(t, http.StatusTooManyRequests, guess.status, "in whatever case the name is written")
	require.Equal(t, "900", guess.header.Get("Retry-After"))

	// The person, from elsewhere, is not locked out; and what succeeds is not
	// counted, however often.
	for range 7 {
		ann := from("203.0.113.9")
		ann.submit("/sign-in", "name", "ann", "password", "a good password")
		require.Equal(t, "/lists", ann.at.Path, ann.raw)
	}
}

type headers map[string]string

func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	for name, value := range h {
		r.Header.Set(name, value)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestPages(t *testing.T) {
	s := newSite(t)
	s.pageSize = 2
	p := s.signUp(t, "ann")
	p.submit("/lists", "title", "list")
	list := p.at.Path
	for i := range 5 {
		p.submit(list+"/items", "title", fmt.Sprintf("thing %d", i))
	}
	require.True(t, p.sees("Page 1 of 3"))
	p.follow("Next")
	require.True(t, p.sees("thing 2"))
	p.follow("Next")
	require.True(t, p.sees("Page 3 of 3"))
	p.submit(list+"/items", "title", "")
	p.follow("Next")
	require.Equal(t, http.StatusOK, p.status, "after a form that was refused too")
	for _, n := range []string{"0", "-1", "99", "x"} {
		p.visit(list + "?page=" + n)
		require.Equal(t, http.StatusOK, p.status, n)
	}
	p.visit("/search?q=thing")
	p.follow("Next")
	require.True(t, p.sees("Page 2 of 3"))
}

func TestFooterSaysWhoAnswered(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Pod, o.Node = "todo-1", "worker1" })
	p := s.person(t)
	for edge, shown := range map[string]bool{"edge2": true, "<script>": false, "": false} {
		p.client.Transport = headers{"X-Edge": edge}
		p.visit("/")
		assert.Contains(t, p.raw, "<dt>Pod</dt><dd>todo-1</dd>")
		assert.Contains(t, p.raw, "<dt>Node</dt><dd>worker1</dd>")
		assert.Equal(t, shown, strings.Contains(p.raw, "<dt>Edge</dt>"), edge)
	}
	quiet := newSite(t).person(t)
	quiet.visit("/")
	assert.NotContains(t, quiet.raw, "<dl")
}

func TestProbes(t *testing.T) {
	s := newSite(t)
	p := s.person(t)
	p.visit("/readyz")
	require.Equal(t, http.StatusOK, p.status, p.raw)
	s.Drain()
	p.visit("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, p.status)
	p.visit("/")
	require.Equal(t, http.StatusOK, p.status, "it goes on answering")
	p.visit("/healthz")
	require.Equal(t, http.StatusOK, p.status)

	broken := newSite(t)
	require.NoError(t, os.RemoveAll(broken.folder))
	p = broken.person(t)
	p.visit("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, p.status, "without its volume")
}

// A page of the person who waits, while the database is away.
func TestAwayForNow(t *testing.T) {
	s := newSite(t)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		p := s.person(t)
		server := *s
		recorder := s.page(func(*call) error { return fmt.Errorf("%w: asked", store.ErrUnavailable) }, false)
		server.server = newServer(t, recorder)
		p.site = &server
		if method == http.MethodGet {
			p.visit("/x")
			assert.Contains(t, p.raw, `http-equiv="refresh" content="5"`)
		} else {
			p.send("/x", map[string][]string{})
			assert.NotContains(t, p.raw, "http-equiv", "a browser would ask for another page")
			assert.True(t, p.sees("Reload this page to send it again"))
		}
		assert.Equal(t, http.StatusServiceUnavailable, p.status)
		assert.Equal(t, "5", p.header.Get("Retry-After"))
	}
}

// An upload that is under way when the process is told to end is finished.
func TestShutdownFinishesUploads(t *testing.T) {
	s := newSite(t)
	p := s.signUp(t, "ann")
	p.submit("/lists", "title", "list")
	p.submit(p.at.Path+"/items", "title", "item")
	p.follow("item")
	item := p.at.Path

	body, w := io.Pipe()
	r, err := http.NewRequest(http.MethodPost, s.server.URL+item+"/attachments", body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answered := make(chan *http.Response, 1)
	go func() {
		answer, err := p.client.Do(r)
		assert.NoError(t, err)
		answered <- answer
	}()
	_, err = fmt.Fprintf(w, "--b\r\nContent-Disposition: form-data; name=file; filename=a.txt\r\n\r\n%s", strings.Repeat("begun ", 20_000))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(s.files(t)) == 1 }, 10*time.Second, 10*time.Millisecond, "the file is being received")
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		ended <- s.server.Config.Shutdown(ctx)
	}()
	require.Eventually(t, func() bool {
		answer, err := http.Get(s.server.URL + "/healthz")
		return err != nil || answer.Body.Close() != nil
	}, 10*time.Second, 10*time.Millisecond, "new requests are refused")
	_, err = io.WriteString(w, "and finished\r\n--b--\r\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	answer := <-answered
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	require.NoError(t, <-ended)
	require.Len(t, s.files(t), 1)
}

// A body has as long as something comes, and what is done with it has longer.
func TestBodiesMayBeSlow(t *testing.T) {
	s := newSite(t)
	s.bodyPause = time.Second
	read := make(chan error, 1)
	server := newServer(t, s.protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			timer := time.NewTimer(s.bodyPause * 3 / 2) // a volume that moves
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
				err = r.Context().Err()
			}
		}
		read <- err
	})))
	send := func(pauses ...time.Duration) error {
		body, w := io.Pipe()
		go func() {
			for _, pause := range pauses {
				timer := time.NewTimer(pause)
				<-timer.C
				_, _ = io.WriteString(w, "more")
			}
			_ = w.Close()
		}()
		answer, err := http.Post(server.URL, "text/plain", body)
		if err == nil {
			err = answer.Body.Close()
		}
		_ = body.Close()
		return err
	}
	require.NoError(t, send(s.bodyPause/20, s.bodyPause/20, s.bodyPause/20))
	require.NoError(t, <-read)
	_ = send(0, 3*s.bodyPause) // whether its answer comes through is chance
	require.ErrorIs(t, <-read, os.ErrDeadlineExceeded)
}

func TestFormsAreLimited(t *testing.T) {
	p := newSite(t).signUp(t, "ann")
	p.submit("/lists", "title", strings.Repeat("x", formLimit))
	require.Equal(t, http.StatusRequestEntityTooLarge, p.status)
	require.True(t, p.sees("That was too much"))
	p.visit("/lists")
	p.submit("/lists", "title", strings.Repeat("x", titleMost+1))
	require.True(t, p.sees("Enter a title of at most 200 characters"))
}

func TestAssets(t *testing.T) {
	s := newSite(t)
	p := s.person(t)
	p.visit(s.static["style.css"].path)
	assert.Equal(t, http.StatusOK, p.status)
	assert.Contains(t, p.header.Get("Cache-Control"), "immutable")
	p.visit("/static/style-0123456789ab.css")
	assert.Equal(t, http.StatusOK, p.status, "of another version")
	assert.Equal(t, "no-cache", p.header.Get("Cache-Control"))
	p.visit("/static/nothing.css")
	assert.Equal(t, http.StatusNotFound, p.status)
}
